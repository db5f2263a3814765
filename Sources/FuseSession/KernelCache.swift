// What the kernel caches of a mount's file, where a file system has to know.

import Glibc
import Synchronization
import SystemPackage
import Threads

/// The kernel's cache of a mount's file.
public struct KernelCache: Sendable {
  let state: SessionState
  let ask: Ask

  /// Has the kernel write back so many bytes (0: all) from a place on, and waits for that as long as it is wanted.
  ///
  /// - Returns: whether it is done.
  public typealias Ask = @Sendable (_ start: UInt64, _ count: UInt64, _ isWanted: () -> Bool) -> Bool

  /// Whether the kernel may hold writes back. It does so only while somebody has the file open for writing: before the
  /// last of them has let go, it writes everything back.
  public var mayHoldWrites: Bool { state.writers.load(ordering: .acquiring) > 0 }

  /// Has the kernel write back what it holds of the file in these bytes, and waits for that.
  ///
  /// Called while a request is being served, but not by the only worker: the write-back is served by another. The caller's
  /// request is outside the file system's gate meanwhile: what it looked at before may be different afterwards. It is
  /// another process that asks for it, as a user of the mount would. The kernel's own way, a notification
  /// (fuse_lowlevel_notify_inval_inode), has this process wait in the kernel for what it serves itself: killed at that
  /// moment, it would neither end nor let go of the mount.
  ///
  /// - Returns: false where that did not work, and nothing is known.
  public func writeBack(from start: UInt64, to end: UInt64) -> Bool {
    guard Self.waitsForServer else { return false }
    // Others have to get through meanwhile, and somebody may be waiting until nobody is inside.
    return Worker.belongings.lane._withUnsafeGuaranteedRef { lane in
      lane.step {
        // 0 bytes are all up to the end.
        ask(start, end > UInt64(Int64.max) ? 0 : end - start) { !state.isStopping.load(ordering: .acquiring) }
      }
    }
  }

  /// Notes that a write failed which the kernel had held back: its writer was told of success before.
  public func refused(_ error: Errno) { state.heldBack.add(error) }

  /// Before Linux 6.16 the kernel copies what it writes back, and waiting for write-back waits for the copying alone: the
  /// write itself may come any time later.
  private static let waitsForServer: Bool = {
    var name = utsname()
    guard uname(&name) == 0 else { return false }
    let release = withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    let numbers = release.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
    return numbers.count == 2 && (numbers[0], numbers[1]) >= (6, 16)
  }()
}
