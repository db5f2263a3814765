// nbdkit's cow filter over its file plugin, shown as a file by nbdfuse.

import Subprocess
import SystemPackage

/// Two processes and a socket. nbdfuse can start nbdkit by itself (`--command nbdkit -s …`), but then it has one
/// connection only; over a socket it opens four. Both ways measured the same within noise, and this one leaves both
/// processes our children.
///
/// - The filter keeps its overlay in a deleted file under TMPDIR, in blocks of 64 KiB.
/// - What is in an xz file comes from its xz filter, without the cow filter and read-only: that is as fast as it can be.
/// - Trim is accepted and remembered, but gives no space back.
/// - Without `-o kernel_cache` the kernel forgets the file's pages at each open, so a "warm" read by another process
///   still goes through both daemons; with it, such a read is as fast as any file's. It is not the default and so
///   not the contender's default here; `nbdkit-cached` has it.
final class Nbdkit: Contender {
  let name: String
  let readsXz = true
  let executables = ["nbdkit", "nbdfuse"]
  private let options: [String]

  init(keepingCache: Bool = false) {
    name = keepingCache ? "nbdkit-cached" : "nbdkit"
    options = keepingCache ? ["-o", "kernel_cache"] : []
  }

  func prepare(_ base: Base, on stage: Stage) async throws -> FilePath {
    let socket = stage.directory.appending("socket")
    let ready = stage.directory.appending("nbdkit.pid")
    try await stage.serve(
      "nbdkit",
      [
        "--foreground", "--exit-with-parent", "--unix", socket.string, "--pidfile", ready.string,
        base.isXz ? "--filter=xz" : "--filter=cow", "file", base.path.string,
      ],
      environment: ["TMPDIR": stage.directory.string])
    // nbdfuse does not try again when nobody listens yet, and the socket is there before anybody does; the pid file
    // comes after.
    try await stage.waitUntilExists(ready)
    let file = try stage.mountFolder().appending(base.name)
    let access = base.isXz ? ["--readonly"] : []
    try await stage.serve("nbdfuse", access + options + [file.string, "--unix", socket.string])
    try await stage.waitUntilReady(file, size: base.size)
    return file
  }
}
