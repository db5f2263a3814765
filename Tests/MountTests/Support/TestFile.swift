// An open file, driven by system calls from this process. cowmount is another process, so this is not the deadlock of a
// server that uses its own mount; and where the mount hangs, the watchdog kills the server, and the call fails.

import CLinux
import Glibc
import SystemPackage

// Not in the Glibc module.
#if arch(arm64)
  let O_DIRECT: CInt = 0o200000
#else
  let O_DIRECT: CInt = 0o40000
#endif

final class TestFile {
  private(set) var descriptor: CInt

  init(_ path: String, _ flags: CInt = O_RDWR, mode: mode_t = 0o644) throws(Errno) {
    descriptor = open(path, flags | O_CLOEXEC, mode)
    if descriptor == -1 { throw Errno(rawValue: errno) }
  }

  deinit { close() }

  /// Closes it before its time.
  func close() {
    if descriptor >= 0 { Glibc.close(descriptor) }
    descriptor = -1
  }

  /// One pread(2); fewer bytes than asked for at the end of the file.
  func read(_ count: Int, at offset: Int) throws(Errno) -> [UInt8] {
    // Aligned for O_DIRECT; plain files do not mind.
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: max(count, 1), alignment: 4096)
    defer { buffer.deallocate() }
    let done = try Self.check(pread(descriptor, buffer.baseAddress, count, offset))
    return Array(buffer[..<done])
  }

  /// One pwrite(2).
  @discardableResult
  func write(_ bytes: [UInt8], at offset: Int) throws(Errno) -> Int {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: max(bytes.count, 1), alignment: 4096)
    defer { buffer.deallocate() }
    buffer.copyBytes(from: bytes)
    return try Self.check(pwrite(descriptor, buffer.baseAddress, bytes.count, offset))
  }

  /// One write(2) at the file's position.
  @discardableResult
  func append(_ bytes: [UInt8]) throws(Errno) -> Int {
    try Self.check(Glibc.write(descriptor, bytes, bytes.count))
  }

  var size: Int { get throws(Errno) { try Int(status().st_size) } }

  func status() throws(Errno) -> stat {
    var result = stat()
    try Self.check(fstat(descriptor, &result))
    return result
  }

  func resize(_ size: Int) throws(Errno) { try Self.check(ftruncate(descriptor, size)) }

  func sync() throws(Errno) { try Self.check(fsync(descriptor)) }

  /// fallocate(2).
  func allocate(_ mode: AllocateMode, _ range: Range<Int>) throws(Errno) {
    try Self.check(clinux_fallocate(descriptor, mode.rawValue, Int64(range.lowerBound), Int64(range.count)))
  }

  /// Where data begins at or after `offset`, or nil where there is none.
  func nextData(_ offset: Int) throws(Errno) -> Int? {
    do {
      return try Self.check(lseek(descriptor, offset, clinux_seek_data))
    } catch .noSuchAddressOrDevice {
      return nil
    }
  }

  /// Where a hole begins at or after `offset`; the end of the file counts as one.
  func nextHole(_ offset: Int) throws(Errno) -> Int {
    try Self.check(lseek(descriptor, offset, clinux_seek_hole))
  }

  /// The file's data, as SEEK_DATA and SEEK_HOLE tell it.
  func dataRanges() throws(Errno) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    var offset = 0
    while let start = try nextData(offset) {
      offset = try nextHole(start)
      ranges.append(start..<offset)
    }
    return ranges
  }

  @discardableResult
  static func check<Result: BinaryInteger>(_ result: Result) throws(Errno) -> Result {
    if result == -1 { throw Errno(rawValue: errno) }
    return result
  }
}

/// The modes of fallocate(2).
struct AllocateMode: OptionSet, Sendable {
  let rawValue: CInt

  static let keepSize = AllocateMode(rawValue: 0x01)
  static let punchHole: AllocateMode = [.keepSize, AllocateMode(rawValue: 0x02)]
  static let noHideStale = AllocateMode(rawValue: 0x04)
  static let collapseRange = AllocateMode(rawValue: 0x08)
  static let zeroRange = AllocateMode(rawValue: 0x10)
  static let insertRange = AllocateMode(rawValue: 0x20)
  static let unshareRange = AllocateMode(rawValue: 0x40)
}

/// stat(2), links not followed.
func status(_ path: String) throws(Errno) -> stat {
  var result = stat()
  try TestFile.check(lstat(path, &result))
  return result
}

/// The names in a directory.
func entries(_ path: String) throws(Errno) -> [String] {
  guard let directory = opendir(path) else { throw Errno(rawValue: errno) }
  defer { closedir(directory) }
  var names: [String] = []
  while let entry = readdir(directory) {
    let name = withUnsafePointer(to: &entry.pointee.d_name) {
      $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
    }
    if name != ".", name != ".." { names.append(name) }
  }
  return names.sorted()
}

/// A whole file of /proc or another whose size is not known before.
func readText(_ path: String) throws(Errno) -> String {
  let file = try TestFile(path, O_RDONLY)
  var bytes: [UInt8] = []
  while true {
    let part = try file.read(1 << 16, at: bytes.count)
    if part.isEmpty { return String(decoding: bytes, as: UTF8.self) }
    bytes += part
  }
}
