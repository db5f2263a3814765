// xmount with a cache file, which is what makes it writable.

import SystemPackage

/// A FUSE 2 program: no asynchronous direct I/O, so depth 32 is depth 1 to it.
///
/// - It always goes into the background (there is no -f; -d would, and prints every request), and names its file
///   after the base with another ending: `.dd` for a raw image.
/// - `big_writes` is given, or it gets each write in pieces of 4 KiB, which halves its sequential writing. An -o
///   replaces its own `allow_other`, which therefore has to be said again.
/// - The cache file holds blocks of 1 MiB. It knows neither fallocate nor discard.
/// - As with nbdkit, `kernel_cache` is not its default; `xmount-cached` has it.
final class Xmount: Contender {
  let name: String
  let executables = ["xmount"]
  private let options: String

  init(keepingCache: Bool = false) {
    name = keepingCache ? "xmount-cached" : "xmount"
    options = "big_writes,allow_other" + (keepingCache ? ",kernel_cache" : "")
  }

  /// It has no `--version` that succeeds.
  func version() async -> String {
    (try? await command("xmount", ["--info"]))?.firstLine ?? "unknown"
  }

  func prepare(_ base: Base, on stage: Stage) async throws -> FilePath {
    let folder = try stage.mountFolder()
    let cache = stage.directory.appending("cache")
    try await command(
      "xmount",
      [
        "-o", options, "--in", "raw", base.path.string, "--out", "raw", "--cache", cache.string, folder.string,
      ])
    stage.adoptStray()
    let file = folder.appending((base.path.stem ?? base.name) + ".dd")
    try await stage.waitUntilReady(file, size: base.size)
    return file
  }
}
