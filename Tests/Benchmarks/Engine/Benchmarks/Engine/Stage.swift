// A disk to measure on.

import CopyOnWrite
import DiskIO
import Glibc
import SystemPackage

/// A disk of 128 MiB over a base in memory, and the memory that a worker has.
struct Stage {
  /// Bytes between the places that requests go to.
  static let stride: UInt64 = 128 << 10
  /// How many there are.
  static let places: UInt64 = 1024
  private static let size = places * stride

  let disk: CowDisk
  private let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
  private let vectors = UnsafeMutableBufferPointer<iovec>.allocate(capacity: 1024)

  init() throws {
    let directory = getenv("TMPDIR").map { String(cString: $0) } ?? "/var/tmp"
    guard let geometry = Geometry(blockSize: 4096) else { throw Errno.invalidArgument }
    disk = try CowDisk(
      base: MemoryBase(size: Self.size), geometry: geometry, scratch: .scratch(in: FilePath(directory)))
    scratch.initializeMemory(as: UInt8.self, repeating: 1)
  }

  /// As the file system reads: to the point where the kernel would take the bytes.
  @inline(__always)
  func read(_ count: Int, at offset: UInt64) throws {
    _ = try disk.gather(at: offset, count: count, scratch: scratch, into: vectors)
  }

  @inline(__always)
  func write(_ count: Int, at offset: UInt64) throws {
    try disk.write(UnsafeRawBufferPointer(rebasing: scratch[..<count]), at: offset)
  }

  func writeAll() throws {
    for offset in Swift.stride(from: 0, to: Self.size, by: 16 << 10) { try write(16 << 10, at: offset) }
  }

  func writeEveryOtherBlock() throws {
    for offset in Swift.stride(from: 0, to: Self.size, by: 8192) { try write(4096, at: offset) }
  }

  func trimAll() throws {
    try disk.zero(0..<Self.size)
  }
}

/// A base that is bytes in memory.
private final class MemoryBase: BaseReader {
  let size: UInt64
  nonisolated(unsafe) private let bytes: UnsafeMutableRawBufferPointer

  init(size: UInt64) {
    self.size = size
    bytes = .allocate(byteCount: Int(size), alignment: 4096)
    bytes.initializeMemory(as: UInt8.self, repeating: 7)
  }

  deinit { bytes.deallocate() }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[Int(offset)..<Int(offset) + buffer.count]))
  }

  func extent(at offset: UInt64) throws(Errno) -> Extent { Extent(isData: true, end: size) }
}
