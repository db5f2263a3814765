// qemu-storage-daemon's FUSE export of a fresh qcow2 overlay over the raw base.

import SystemPackage

/// The export's mount point is a regular file, over which it mounts.
///
/// - `cache.no-flush=on` is what QEMU itself gives a throwaway overlay (`-snapshot`): nobody needs it after a crash.
///   It makes the row of an fsync after each write three times as fast, and second writes twice.
/// - Two I/O threads where the export takes a list of them. An older one takes a single thread, which costs half the
///   speed at depth 1 and gains nothing at depth 32, so there it runs on the main loop.
/// - `discard=unmap` on both nodes, or trim gives nothing back. Zeroing (ZERO_RANGE) gives nothing back either way.
/// - A version without the fix of 2025 ("fuse: Copy write buffer content before polling") lets writes that are in
///   flight together overwrite each other's data. Seen with 7.2: the row about intact blocks fails, and the loop rows
///   with direct I/O end in a broken ext4 now and then. Its figures for several writes in flight are then those of a
///   program that writes the wrong bytes.
/// - Making the overlay (`qemu-img create`) is counted in the time to ready: whoever wants the mount must do it.
final class QemuStorageDaemon: Contender {
  let name = "qemu"
  let executables = ["qemu-storage-daemon", "qemu-img"]
  private var takesThreads: Bool?

  func prepare(_ base: Base, on stage: Stage) async throws -> FilePath {
    let overlay = stage.directory.appending("overlay.qcow2")
    let file = stage.directory.appending(base.name)
    try makeSparse(file, size: 0)
    let threads = await takesTwoThreads()
    try await command(
      "qemu-img", ["create", "-q", "-f", "qcow2", "-b", base.path.string, "-F", "raw", overlay.string])
    let raw = "driver=file,node-name=base-file,read-only=on,filename=\(base.path)"
    let top = "driver=file,node-name=overlay-file,cache.no-flush=on,discard=unmap,filename=\(overlay)"
    let format =
      "driver=qcow2,node-name=overlay,file=overlay-file,backing=base,cache.no-flush=on,discard=unmap"
    let export = "type=fuse,id=export,node-name=overlay,mountpoint=\(file),writable=on"
    stage.unmountsOnTearDown(file)
    try await stage.serve(
      "qemu-storage-daemon",
      (threads ? twoThreads : []) + [
        "--blockdev", raw, "--blockdev", "driver=raw,node-name=base,read-only=on,file=base-file",
        "--blockdev", top, "--blockdev", format, "--export", export + (threads ? threadList : ""),
      ])
    try await stage.waitUntilReady(file, size: base.size)
    return file
  }

  private let twoThreads = ["--object", "iothread,id=a", "--object", "iothread,id=b"]
  private let threadList = ",iothread.0=a,iothread.1=b"

  /// Asks for an export that must fail, its mount point not being there, and sees what it fails for.
  private func takesTwoThreads() async -> Bool {
    if let takesThreads { return takesThreads }
    let node = "driver=null-co,node-name=n,size=4096"
    let export = "type=fuse,id=e,node-name=n,mountpoint=/nonexistent/file" + threadList
    var takes = false
    do {
      try await command("qemu-storage-daemon", twoThreads + ["--blockdev", node, "--export", export])
    } catch let failure as CommandFailed {
      takes = !failure.description.contains("iothread.*") && !failure.description.contains("'iothread'")
    } catch {}
    takesThreads = takes
    return takes
  }
}
