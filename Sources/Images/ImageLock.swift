// The lock on an image, in the way that QEMU locks raw images (block/file-posix.c, "locking" in qemu's manual): open file
// description locks on single bytes, all of them shared. A program takes a byte for each thing it does, and another
// for each thing it does not want others to do; who finds the counterpart of its own byte taken, has a conflict.
//
// We read, and want nobody to write or resize. So QEMU refuses to open the image for writing while it is mounted, an
// image that a QEMU writes to is refused here, and any number of cowmounts share one image.

internal import CLinux
internal import DiskIO
internal import SystemPackage

extension File {
  /// What one does to an image; the raw value is QEMU's bit number (BLK_PERM_*).
  private enum Permission: UInt64, CaseIterable {
    case consistentRead = 0
    case write = 1
    case resize = 3

    /// The byte that stands for doing it.
    var use: UInt64 { 100 + rawValue }
    /// The byte that stands for not letting others do it.
    var refusal: UInt64 { 200 + rawValue }
  }

  /// Takes the lock, which ends when the last descriptor of this opening is closed.
  ///
  /// - Returns: false where another program writes to the image, or does not let it be read.
  /// - Throws: where the file system has no such locks.
  func lockForReading() throws(Errno) -> Bool {
    // First ours, then the look at the others': of two that come at once, at least one sees the other.
    try lockShared(Permission.consistentRead.use)
    for permission in [Permission.write, .resize] { try lockShared(permission.refusal) }
    for byte in [Permission.consistentRead.refusal, Permission.write.use, Permission.resize.use]
    where try isLockedByOthers(byte) {
      return false
    }
    return true
  }

  private func lockShared(_ byte: UInt64) throws(Errno) {
    if clinux_ofd_lock_shared(descriptor, Int64(byte)) == -1 { throw .current }
  }

  private func isLockedByOthers(_ byte: UInt64) throws(Errno) -> Bool {
    let result = clinux_ofd_is_locked(descriptor, Int64(byte))
    if result == -1 { throw .current }
    return result == 1
  }
}
