// Where a file has data, and the space that it takes from its file system.

public import SystemPackage

internal import CLinux
internal import Glibc

extension File {
  /// The first byte at or after `offset` that is data, or nil where only a hole follows.
  public func nextData(from offset: UInt64) throws(Errno) -> UInt64? {
    do {
      return UInt64(try attempt(.seek) { _ in lseek(descriptor, off_t(offset), clinux_seek_data) })
    } catch .noSuchAddressOrDevice {
      return nil
    }
  }

  /// The first byte at or after `offset` that is in a hole; the end of the file is one.
  ///
  /// - Throws: `.noSuchAddressOrDevice` where `offset` lies beyond the end.
  public func nextHole(from offset: UInt64) throws(Errno) -> UInt64 {
    UInt64(try attempt(.seek) { _ in lseek(descriptor, off_t(offset), clinux_seek_hole) })
  }

  /// Sets the length in bytes.
  public func setLength(_ length: UInt64) throws(Errno) {
    guard let length = off_t(exactly: length) else { throw .fileTooLarge }
    _ = try attempt(.resize) { _ in ftruncate(descriptor, length) }
  }

  /// Makes sure that writing to these bytes needs no more space. The file's length stays.
  ///
  /// - Throws: `.noSpace`, `.diskQuotaExceeded`; `.notSupported` (EOPNOTSUPP) where the file system cannot.
  public func reserve(_ range: Range<UInt64>) throws(Errno) {
    try allocate(.reserve, clinux_falloc_keep_size, range)
  }

  /// Whether a store into a hole of this file's mapping either has its space or faults: the file system sets the space
  /// aside when it makes the page writable (delayed allocation of ext4 and xfs). On others a store may seem to work and be
  /// lost when the page is written back.
  public var storesAllocate: Bool { clinux_stores_allocate(descriptor) == 1 }

  /// Has what was stored written to the disk, for the sake of space: only then does a file system that allocates late know
  /// how much it needs, and gives back what it had set aside beyond that.
  public func writeBack() throws(Errno) {
    _ = try attempt(.write) { _ in clinux_write_back(descriptor) }
  }

  /// Gives the space of these bytes back; they read as zeros.
  public func punchHole(_ range: Range<UInt64>) throws(Errno) {
    try allocate(.punch, clinux_falloc_punch_hole | clinux_falloc_keep_size, range)
  }

  private func allocate(_ which: FileCall, _ mode: CInt, _ range: Range<UInt64>) throws(Errno) {
    guard let start = off_t(exactly: range.lowerBound), let count = off_t(exactly: range.upperBound - range.lowerBound)
    else { throw .fileTooLarge }
    _ = try attempt(which) { _ in clinux_fallocate(descriptor, mode, Int64(start), Int64(count)) }
  }

  /// Bytes that an ordinary user may still allocate on the file system of this file; endless for a file in memory, whose
  /// file system has no size.
  public func availableSpace() throws(Errno) -> UInt64 { try fileSystem().availableBytes }

  /// The size of this file's file system in bytes; endless for a file in memory.
  public func totalSpace() throws(Errno) -> UInt64 { try fileSystem().totalBytes }

  private func fileSystem() throws(Errno) -> statvfs {
    var raw = statvfs()
    _ = try retryingInterrupts { fstatvfs(descriptor, &raw) }
    return raw
  }
}

extension statvfs {
  /// A file system without a size is endless, and so is one that answers -1, as some on the network do, or that has more
  /// than can be counted.
  var availableBytes: UInt64 { f_blocks == 0 ? .max : UInt64(f_bavail).multipliedSaturated(by: UInt64(f_frsize)) }
  var totalBytes: UInt64 { f_blocks == 0 ? .max : UInt64(f_blocks).multipliedSaturated(by: UInt64(f_frsize)) }
}

extension UInt64 {
  /// The product, or the most that there is.
  func multipliedSaturated(by other: UInt64) -> UInt64 {
    let (product, overflow) = multipliedReportingOverflow(by: other)
    return overflow ? .max : product
  }
}
