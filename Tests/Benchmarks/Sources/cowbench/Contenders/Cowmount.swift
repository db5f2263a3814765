// cowmount itself, as in everyday use.

import SystemPackage

final class Cowmount: Contender {
  let name = "cowmount"
  let readsXz = true
  let executables: [String]

  init(executable: String) {
    executables = [executable]
  }

  func prepare(_ base: Base, on stage: Stage) async throws -> FilePath {
    let folder = try stage.mountFolder()
    try await command(executables[0], ["--overlay-dir", stage.directory.string, base.path.string, folder.string])
    stage.adoptStray()
    let file = folder.appending(base.name)
    try await stage.waitUntilReady(file, size: base.size)
    return file
  }
}
