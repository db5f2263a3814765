// An open file, and the system calls that a disk image meets. Each throws the bare errno.

internal import CSoak
internal import Glibc
internal import SystemPackage

final class OpenFile {
  let descriptor: CInt

  /// O_DIRECT.
  static var directFlag: CInt { csoak_o_direct }

  init(_ path: String, _ flags: CInt = O_RDWR, mode: mode_t = 0o600) throws(Errno) {
    descriptor = try Errno.check(open(path, flags | O_CLOEXEC, mode))
  }

  deinit { close(descriptor) }

  /// Reads until the buffer is full or the file ends; how many bytes.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Errno) -> Int {
    guard let start = buffer.baseAddress else { return 0 }
    var done = 0
    while done < buffer.count {
      let count = try Errno.check(pread(descriptor, start + done, buffer.count - done, offset + done))
      if count == 0 { break }
      done += count
    }
    return done
  }

  /// Writes all of the bytes, or fails.
  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(Errno) {
    guard let start = bytes.baseAddress else { return }
    var done = 0
    while done < bytes.count {
      done += try Errno.check(pwrite(descriptor, start + done, bytes.count - done, offset + done))
    }
  }

  var size: Int {
    get throws(Errno) {
      var status = stat()
      try Errno.check(fstat(descriptor, &status))
      return Int(status.st_size)
    }
  }

  func resize(to size: Int) throws(Errno) { try Errno.check(ftruncate(descriptor, size)) }

  func sync(dataOnly: Bool = false) throws(Errno) {
    try Errno.check(dataOnly ? fdatasync(descriptor) : fsync(descriptor))
  }

  enum Allocation {
    case reserve, punch, zero
  }

  func allocate(_ kind: Allocation, _ range: Range<Int>, keepingSize: Bool = true) throws(Errno) {
    let mode: CInt =
      switch kind {
      case .reserve: 0
      case .punch: csoak_falloc_punch_hole
      case .zero: csoak_falloc_zero_range
      }
    let keep = keepingSize || kind == .punch ? csoak_falloc_keep_size : 0
    try Errno.check(csoak_fallocate(descriptor, mode | keep, Int64(range.lowerBound), Int64(range.count)))
  }

  /// Has the kernel forget what it caches, where it is clean.
  func dropCache(_ range: Range<Int>) {
    posix_fadvise(descriptor, range.lowerBound, range.count, POSIX_FADV_DONTNEED)
  }

  /// Where data begins at or after `offset`, nil where there is none.
  func nextData(_ offset: Int) throws(Errno) -> Int? {
    do { return try Errno.check(lseek(descriptor, offset, csoak_seek_data)) } catch .noSuchAddressOrDevice {
      return nil
    }
  }

  /// Where a hole begins at or after `offset`; the end of the file is one.
  func nextHole(_ offset: Int) throws(Errno) -> Int {
    try Errno.check(lseek(descriptor, offset, csoak_seek_hole))
  }
}

extension Errno {
  @discardableResult
  static func check<Result: BinaryInteger>(_ result: Result) throws(Errno) -> Result {
    if result == -1 { throw Errno(rawValue: errno) }
    return result
  }
}

/// A shared mapping of the start of a file.
final class Mapping {
  let bytes: UnsafeMutableRawBufferPointer

  init(_ file: OpenFile, count: Int) throws(Errno) {
    let address = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor, 0)
    guard let address, address != MAP_FAILED else { throw Errno(rawValue: errno) }
    bytes = UnsafeMutableRawBufferPointer(start: address, count: count)
  }

  deinit { munmap(bytes.baseAddress, bytes.count) }

  /// Writes back the pages that hold these bytes.
  func sync(_ range: Range<Int>) throws(Errno) {
    guard let start = bytes.baseAddress else { return }
    let first = range.lowerBound / 4096 * 4096
    try Errno.check(msync(start + first, range.upperBound - first, CInt(MS_SYNC)))
  }
}

/// Memory for reading and writing, aligned for O_DIRECT.
final class Buffer {
  let bytes: UnsafeMutableRawBufferPointer

  init(count: Int) {
    bytes = .allocate(byteCount: max(count, 1), alignment: 4096)
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
  }

  deinit { bytes.deallocate() }

  func prefix(_ count: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(rebasing: bytes[..<count])
  }
}

/// All of a small text file.
func readText(_ path: String) -> String? {
  guard let file = try? OpenFile(path, O_RDONLY) else { return nil }
  var text: [UInt8] = []
  let buffer = Buffer(count: 65536)
  while true {
    let count = Glibc.read(file.descriptor, buffer.bytes.baseAddress, buffer.bytes.count)
    guard count > 0 else { return String(decoding: text, as: UTF8.self) }
    text.append(contentsOf: buffer.prefix(count))
  }
}

/// Writes a short text to an existing file, such as those of /sys.
func writeText(_ text: String, to path: String) throws(Errno) {
  let file = try OpenFile(path, O_WRONLY)
  let bytes = Array(text.utf8)
  try Errno.check(Glibc.write(file.descriptor, bytes, bytes.count))
}

/// The names in a directory.
func entries(_ path: String) -> [String] {
  guard let directory = opendir(path) else { return [] }
  defer { closedir(directory) }
  var names: [String] = []
  while let entry = readdir(directory) {
    let name = withUnsafePointer(to: &entry.pointee.d_name) {
      $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
    }
    if name != ".", name != ".." { names.append(name) }
  }
  return names
}
