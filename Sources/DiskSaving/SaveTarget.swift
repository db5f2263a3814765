// What a disk is saved into: a raw file that has holes, or a qcow2 file that QEMU writes.

internal import DiskIO
internal import Glibc
internal import SystemPackage

/// A saved file in the making. Each byte is written once at most; what is not reads as what lies below, or as zeros.
protocol SaveTarget {
  /// Bytes of it while it is written: those of the disk, and zeros that complete a sector or a cluster.
  var size: UInt64 { get }
  /// Writes bytes.
  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(SaveError)
  /// Makes bytes zeros.
  func zero(_ bytes: Range<UInt64>) throws(SaveError)
  /// Completes the file.
  func finish() throws(SaveError)
}

/// The disk's bytes, as they are.
struct RawTarget: SaveTarget {
  private let output: OutputFile
  private let path: FilePath
  let size: UInt64

  /// - Parameter size: of the disk, to the byte.
  init(_ output: OutputFile, at path: FilePath, size: UInt64) throws(SaveError) {
    self.output = output
    self.path = path
    self.size = size
    guard let size = off_t(exactly: size), ftruncate(output.file.descriptor, size) == 0 else {
      throw .unwritable(path, .current)
    }
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(SaveError) {
    // The last cluster is read with zeros behind the end of the disk.
    var rest = UnsafeRawBufferPointer(rebasing: bytes.prefix(Int(clamping: size - min(size, offset))))
    var place = offset
    while !rest.isEmpty {
      let count = pwrite(output.file.descriptor, rest.baseAddress, rest.count, off_t(place))
      if count == -1, errno == EINTR { continue }
      guard count > 0 else { throw .unwritable(path, .current) }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
      place += UInt64(count)
    }
  }

  /// Nothing was there before.
  func zero(_ bytes: Range<UInt64>) {}

  func finish() {}
}
