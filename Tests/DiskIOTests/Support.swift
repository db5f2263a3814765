// What the tests of DiskIO share.

import Glibc
import SystemPackage
import TestSupport

@testable import DiskIO

extension TemporaryDirectory {
  /// What is in it.
  var names: [String] {
    guard let directory = opendir(path.string) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }

  /// Creates a file in it.
  func makeFile(_ name: String, _ bytes: [UInt8] = [], mode: mode_t = 0o600) throws(Errno) -> File {
    let file = try File.open(path.appending(name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode: mode)
    try file.write(bytes)
    return file
  }
}

extension File {
  /// An empty unnamed file.
  static func scratch() throws(Errno) -> File { try scratch(in: scratchDirectory) }

  func write(_ bytes: [UInt8], at offset: UInt64 = 0) throws(Errno) {
    var failure: Errno?
    bytes.withUnsafeBytes {
      do {
        try writeFully($0, at: offset)
      } catch {
        failure = error as? Errno
      }
    }
    if let failure { throw failure }
  }

  func read(_ range: Range<UInt64>) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0xDE, count: range.count)
    try bytes.withUnsafeMutableBytes { try readFully(into: $0, at: range.lowerBound) }
    return bytes
  }
}

/// Whether the kernel finds these bytes readable.
func isReadable(_ start: UnsafeRawPointer, _ count: Int = 1) throws -> Bool {
  var ends: [CInt] = [0, 0]
  guard pipe(&ends) == 0 else { throw Errno.current }
  defer { ends.forEach { close($0) } }
  if write(ends[1], start, count) == count { return true }
  if errno == EFAULT { return false }
  throw Errno.current
}
