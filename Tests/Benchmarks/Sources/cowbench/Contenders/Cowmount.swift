// cowmount itself, in the foreground so that its process is known; nothing else differs from everyday use.

import SystemPackage

final class Cowmount: Contender {
  let name = "cowmount"
  let executables: [String]

  init(executable: String) {
    executables = [executable]
  }

  func prepare(_ base: Base, on stage: Stage) async throws -> FilePath {
    let folder = try stage.mountFolder()
    try await stage.serve(
      executables[0],
      ["--foreground", "--overlay-dir", stage.directory.string, base.path.string, folder.string])
    let file = folder.appending(base.name)
    try await stage.waitUntilReady(file, size: base.size)
    return file
  }
}
