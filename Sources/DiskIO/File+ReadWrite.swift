// Whole reads and writes at a position: a short one is continued, never passed on.

public import SystemPackage

internal import Glibc

extension File {
  /// Fills `buffer` from byte `offset` on.
  ///
  /// - Throws: what `pread(2)` reports; `.ioError` where the file ends before the buffer is full, so that a file that
  ///   shrank is never taken for zeros.
  public func readFully(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    guard let start = buffer.baseAddress else { return }
    var done = 0
    while done < buffer.count {
      // SAFETY: done < count, so the advanced pointer stays inside the caller's buffer.
      let count = try attempt(.read, count: buffer.count - done) {
        pread(descriptor, start + done, $0, off_t(offset) + off_t(done))
      }
      if count == 0 { throw .ioError }
      done += count
    }
  }

  /// Writes all of `bytes` from byte `offset` on.
  public func writeFully(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    guard let start = bytes.baseAddress else { return }
    var done = 0
    while done < bytes.count {
      // SAFETY: done < count, so the advanced pointer stays inside the caller's buffer.
      done += try attempt(.write, count: bytes.count - done) {
        pwrite(descriptor, start + done, $0, off_t(offset) + off_t(done))
      }
    }
  }
}

extension File {
  /// All of a small text file, such as those of /proc. What is no UTF-8 is replaced.
  public static func readText(_ path: FilePath) throws(Errno) -> String {
    String(decoding: try readBytes(path), as: UTF8.self)
  }

  /// All bytes of a small file, such as those of /proc.
  public static func readBytes(_ path: FilePath) throws(Errno) -> [UInt8] {
    let file = try open(path, O_RDONLY | O_CLOEXEC)
    var text: [UInt8] = []
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 16)
    defer { buffer.deallocate() }
    while true {
      let count = try retryingInterrupts { read(file.descriptor, buffer.baseAddress, buffer.count) }
      guard count > 0 else { return text }
      text.append(contentsOf: buffer[..<count])
    }
  }

  /// Writes a short text to an existing file, such as those of /sys.
  public static func write(_ text: String, to path: FilePath) throws(Errno) {
    let file = try open(path, O_WRONLY | O_CLOEXEC)
    let bytes = Array(text.utf8)
    _ = try retryingInterrupts { Glibc.write(file.descriptor, bytes, bytes.count) }
  }
}
