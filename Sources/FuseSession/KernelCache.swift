// What the kernel caches of a mount's file, where a file system has to know.

import CLinux
import Glibc
import Synchronization
import SystemPackage

/// The kernel's cache of a mount's file.
public struct KernelCache: Sendable {
  let mountpoint: Mountpoint
  /// The device number of the mount, as the mount table writes it.
  let device: String
  /// The session's FUSE device.
  let descriptor: CInt
  let state: SessionState

  /// Whether the kernel may hold writes back. It does so only while somebody has the file open for writing: before the
  /// last of them has let go, it writes everything back.
  public var mayHoldWrites: Bool { state.writers.load(ordering: .acquiring) > 0 }

  /// Has the kernel write back what it holds of the file in these bytes, and waits for that.
  ///
  /// May be called while a request is being served, but not by the only worker: the write-back is served by another. It is
  /// a process of its own that asks for it, as a user of the mount would, and that has no part in the session. The kernel's
  /// own way, a notification (fuse_lowlevel_notify_inval_inode), has this process wait in the kernel for what it serves
  /// itself: killed at that moment, it would neither end nor let go of the mount.
  ///
  /// - Parameter name: the file's name in the mountpoint; nil where the mountpoint is the file.
  /// - Returns: false where that did not work, and nothing is known: the place belongs to another mount by now, there can
  ///   be no more processes, or the session is about to end.
  public func writeBack(_ name: String?, from start: UInt64, to end: UInt64) -> Bool {
    state.reapChildren()
    var pipe: CInt = -1
    // 0 bytes are all up to the end.
    let count = end > UInt64(Int64.max) ? 0 : Int64(end - start)
    let path = name.map { mountpoint.path.appending($0) } ?? mountpoint.path
    let child = path.withPlatformString { path in
      clinux_begin_write_back(path, number, Int64(start), count, descriptor, &pipe)
    }
    guard child != -1 else { return false }
    state.add(child: child)
    defer { close(pipe) }
    while true {
      var byte: UInt8 = 0
      var wait = pollfd(fd: pipe, events: Int16(POLLIN), revents: 0)
      // Interrupted when the session is about to end; an interrupt just before is lost, hence the limit.
      if poll(&wait, 1, 100) == 1 { return read(pipe, &byte, 1) == 1 && byte == 1 }
      if state.isStopping.load(ordering: .acquiring) { return false }
    }
  }

  /// ``device`` as stat(2) has it.
  private var number: UInt64 {
    let parts = device.split(separator: ":").compactMap { UInt32($0) }
    return parts.count == 2 ? UInt64(clinux_device_number(parts[0], parts[1])) : 0
  }
}
