// One request of the kernel, answered exactly once: the value cannot be copied, every answer consumes it, and one that is
// dropped answers EIO instead of leaving a process hanging.

import CFuse
import DiskIO
import Glibc
import SystemPackage

/// A request that waits for its answer.
public struct Request: ~Copyable, @unchecked Sendable {
  // SAFETY: libfuse answers a request on whatever thread has it, and it has one owner.
  private let raw: fuse_req_t

  /// How long the kernel may trust names and attributes without asking again, in seconds. Nobody but the kernel changes
  /// them, so it is told to keep them.
  private static let lifetime: Double = 86400

  init(_ raw: fuse_req_t) {
    self.raw = raw
  }

  deinit {
    fuse_reply_err(raw, EIO)
  }

  /// Answers that the request failed.
  public consuming func fail(_ error: Errno) {
    fuse_reply_err(raw, error.rawValue)
    discard self
  }

  /// Answers that a request without a result is done.
  public consuming func succeed() {
    fuse_reply_err(raw, 0)
    discard self
  }

  /// Answers a look-up.
  ///
  /// - Parameter isLasting: whether the kernel may keep name and attributes.
  public consuming func reply(entry attributes: InodeAttributes, isLasting: Bool) {
    var entry = fuse_entry_param()
    entry.ino = attributes.inode
    entry.attr = attributes.raw
    entry.attr_timeout = isLasting ? Self.lifetime : 0
    entry.entry_timeout = isLasting ? Self.lifetime : 0
    fuse_reply_entry(raw, &entry)
    discard self
  }

  /// Answers that a name does not exist.
  ///
  /// - Parameter isLasting: whether the kernel may remember that.
  public consuming func replyNoEntry(isLasting: Bool) {
    var entry = fuse_entry_param()
    entry.entry_timeout = isLasting ? Self.lifetime : 0
    fuse_reply_entry(raw, &entry)
    discard self
  }

  /// Answers with attributes.
  ///
  /// - Parameter isLasting: whether the kernel may keep them.
  public consuming func reply(attributes: InodeAttributes, isLasting: Bool) {
    var attributes = attributes.raw
    fuse_reply_attr(raw, &attributes, isLasting ? Self.lifetime : 0)
    discard self
  }

  /// Answers an open. What the kernel has cached of the file stays valid.
  ///
  /// - Returns: false where nobody waits for it any more, and nobody will close the file.
  consuming func reply(open info: UnsafeMutablePointer<fuse_file_info>) -> Bool {
    info.pointee.keep_cache = 1
    let result = fuse_reply_open(raw, info)
    discard self
    return result != -ENOENT
  }

  /// Answers a read with bytes, or a directory listing.
  public consuming func reply(bytes: UnsafeRawBufferPointer) {
    fuse_reply_buf(raw, bytes.baseAddress, bytes.count)
    discard self
  }

  /// Answers a read from several places. The kernel copies from them during the call; where one of them cannot be read
  /// (EFAULT), it lets the reader's call fail with EIO.
  public consuming func reply(vectors: UnsafeMutableBufferPointer<iovec>) {
    if vectors.count == 1 {
      // Without the list, libfuse allocates nothing.
      fuse_reply_buf(raw, vectors[0].iov_base, vectors[0].iov_len)
    } else {
      fuse_reply_iov(raw, vectors.baseAddress, CInt(vectors.count))
    }
    discard self
  }

  /// Answers a write: all `count` bytes were taken.
  public consuming func reply(written count: Int) {
    fuse_reply_write(raw, count)
    discard self
  }

  /// Answers a seek for data or a hole.
  public consuming func reply(offset: UInt64) {
    fuse_reply_lseek(raw, off_t(offset))
    discard self
  }

  /// Answers an ioctl with bytes, no more than it has room for.
  public consuming func reply(control bytes: [UInt8]) {
    fuse_reply_ioctl(raw, 0, bytes, bytes.count)
    discard self
  }

  /// Answers statfs.
  public consuming func reply(statistics: FileSystemStatistics) {
    var raw = statvfs()
    raw.f_bsize = UInt(FileSystemStatistics.unit)
    raw.f_frsize = UInt(FileSystemStatistics.unit)
    raw.f_blocks = fsblkcnt_t(statistics.total)
    raw.f_bfree = fsblkcnt_t(statistics.free)
    raw.f_bavail = fsblkcnt_t(statistics.available)
    raw.f_files = 1
    raw.f_namemax = 255
    fuse_reply_statfs(self.raw, &raw)
    discard self
  }

  /// Adds an entry to a directory listing in `buffer`.
  ///
  /// - Returns: the bytes that the entry takes, which is more than `buffer` has where it did not fit.
  public borrowing func addDirectoryEntry(
    _ name: String, attributes: InodeAttributes, next: Int, to buffer: UnsafeMutableRawBufferPointer
  ) -> Int {
    var attributes = attributes.raw
    let start = buffer.baseAddress?.assumingMemoryBound(to: CChar.self)
    return name.withCarriedCString { fuse_add_direntry(raw, start, buffer.count, $0, &attributes, off_t(next)) }
  }
}
