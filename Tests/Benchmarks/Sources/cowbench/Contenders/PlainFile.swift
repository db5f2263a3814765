// The plain file: a real copy of the base on the same file system. Nothing copy-on-write, nothing FUSE; the bar.

import SystemPackage

final class PlainFile: Contender {
  let name = "plain"
  let executables = ["cp"]
  private var copies: [FilePath: FilePath] = [:]

  /// A full copy is made once and then written over: that changes no block's place, and making it anew for each row
  /// would take longer than all that is measured. Where work ends with another layout (holes, a file system), the
  /// base says so and gets a copy each time, as does a sparse one, which costs nothing.
  func prepare(_ base: Base, on stage: Stage) async throws -> FilePath {
    if base.isReusable, let copy = copies[base.path] { return copy }
    let copy =
      base.isReusable
      ? FilePath(base.path.string + ".plain") : stage.directory.appending("plain.raw")
    // No reflink: a shared extent would be copied on write by the file system, which is another contender's trade.
    try await command(
      "cp", ["--reflink=never", "--sparse=\(base.isSparse ? "always" : "never")", base.path.string, copy.string])
    try await command("chmod", ["u+w", copy.string])
    try PageCache.flush(copy)
    if base.isReusable { copies[base.path] = copy }
    return copy
  }
}
