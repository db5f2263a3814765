// Reading a file around the kernel's page cache (O_DIRECT), for bytes that are cached elsewhere. Direct reads have to be
// aligned, in the file and in memory; what is not goes through a buffer here, and what the file system does not take all
// the same is left to the caller to read the usual way.

public import SystemPackage

internal import CLinux
internal import Glibc

/// A second opening of a file, for direct reads only.
public struct DirectFile: ~Copyable, Sendable {
  private let file: File
  /// What offsets, lengths and addresses must be multiples of; a power of two.
  private let alignment: UInt64

  /// Opens an opened file once more.
  ///
  /// - Returns: nil where its file system cannot read past its cache.
  public init?(_ original: borrowing File) {
    // Through /proc, and so whatever has become of the path.
    let path = FilePath("/proc/self/fd/\(original.descriptor)")
    guard let file = Self.open(path) else { return nil }
    var alignment: UInt32 = 0
    // Kernels before 6.1, and some file systems, do not tell; 4096 suits all disks that are sold.
    if clinux_direct_alignment(file.descriptor, &alignment) == -1 { alignment = 4096 }
    guard alignment > 0, alignment.nonzeroBitCount == 1, alignment <= 1 << 20 else { return nil }
    self.alignment = UInt64(alignment)
    self.file = file
  }

  /// The descriptor, which stays owned by this value.
  public var descriptor: CInt { file.descriptor }

  private static func open(_ path: FilePath) -> File? {
    let flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | clinux_o_direct
    for noatime in [clinux_o_noatime, 0] {
      if var file = try? File.open(path, flags | noatime) {
        file.takeFaultsOfProcess(.base)
        return file
      }
    }
    return nil
  }

  /// Fills `buffer` from byte `offset` on.
  ///
  /// - Throws: what `pread(2)` reports; `.ioError` where the file ends before the buffer is full; `.invalidArgument` where
  ///   this cannot be read directly.
  public func readFully(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    guard let start = buffer.baseAddress else { return }
    // The part that needs no other buffer: all of it, or all but the end of the file, or nothing.
    let isAligned = (offset | UInt64(UInt(bitPattern: start))) & (alignment - 1) == 0
    var done = isAligned ? buffer.count & ~Int(alignment - 1) : 0
    if done > 0 {
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<done])
      // Where a read stops short in between, the rest may not be aligned any more.
      done = try read(into: part, at: offset)
      if done == 0 { throw .ioError }
    }
    if done < buffer.count {
      try readThroughBuffer(into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]), at: offset + UInt64(done))
    }
  }

  private func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
    try file.attempt(.read, count: buffer.count) { pread(file.descriptor, buffer.baseAddress, $0, off_t(offset)) }
  }

  /// Most bytes of the buffer for what is not aligned.
  private static let most: UInt64 = 1 << 20

  private func readThroughBuffer(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    let end = offset + UInt64(buffer.count)
    let aligned = (offset & ~(alignment - 1), (end + alignment - 1) & ~(alignment - 1))
    let memory = UnsafeMutableRawBufferPointer.allocate(
      byteCount: Int(min(aligned.1 - aligned.0, max(Self.most, alignment))), alignment: Int(max(alignment, 4096)))
    defer { memory.deallocate() }
    var position = offset
    while position < end {
      let start = position & ~(alignment - 1)
      let part = UnsafeMutableRawBufferPointer(
        rebasing: memory[..<Int(min(UInt64(memory.count), aligned.1 - start))])
      let count = try read(into: part, at: start)
      let skipped = Int(position - start)
      // The file ends before the byte that is wanted.
      guard count > skipped else { throw .ioError }
      let found = UnsafeRawBufferPointer(rebasing: part[skipped..<min(count, skipped + Int(end - position))])
      UnsafeMutableRawBufferPointer(rebasing: buffer[Int(position - offset)...]).copyMemory(from: found)
      position += UInt64(found.count)
    }
  }
}
