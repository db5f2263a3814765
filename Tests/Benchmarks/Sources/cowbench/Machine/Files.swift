// Small things about files that several measurements need.

import Glibc
import SystemPackage

/// The whole text of a small file; nil where it cannot be read. Files of /proc are the usual case, so no size is
/// asked for first.
func readText(_ path: FilePath) -> String? {
  guard let file = try? FileDescriptor.open(path, .readOnly) else { return nil }
  defer { try? file.close() }
  var bytes: [UInt8] = []
  var part = [UInt8](repeating: 0, count: 16 << 10)
  while let count = try? part.withUnsafeMutableBytes({ try file.read(into: $0) }), count > 0 {
    bytes += part[..<count]
  }
  return String(decoding: bytes, as: UTF8.self)
}

/// Replaces a file's content.
func writeText(_ text: String, to path: FilePath) throws {
  let file = try FileDescriptor.open(
    path, .writeOnly, options: [.create, .truncate], permissions: [.ownerReadWrite, .groupRead, .otherRead])
  try file.closeAfter { _ = try file.writeAll(text.utf8) }
}

/// The names in a folder, `.` and `..` left out; empty where it cannot be read.
func names(in folder: FilePath) -> [String] {
  guard let stream = opendir(folder.string) else { return [] }
  defer { closedir(stream) }
  var found: [String] = []
  while let entry = readdir(stream) {
    // SAFETY: readdir's entry is valid until the next call on this stream, and d_name in it ends with a zero byte.
    let name = withUnsafePointer(to: &entry.pointee.d_name) {
      $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
    }
    if name != "." && name != ".." { found.append(name) }
  }
  return found
}

/// Makes an empty folder.
func makeFolder(_ path: FilePath) throws {
  guard mkdir(path.string, 0o755) == 0 else { throw Errno(rawValue: errno) }
}

/// Makes an empty file of a given size that takes no space.
func makeSparse(_ path: FilePath, size: Int64) throws {
  let file = try FileDescriptor.open(
    path, .writeOnly, options: [.create, .exclusiveCreate], permissions: [.ownerReadWrite])
  try file.closeAfter { try file.resize(to: size) }
}

/// Reads the first `length` bytes of a file and throws them away.
func readThrough(_ path: FilePath, length: Int64) throws {
  let file = try FileDescriptor.open(path, .readOnly)
  defer { try? file.close() }
  var part = [UInt8](repeating: 0, count: 1 << 20)
  var done: Int64 = 0
  while done < length {
    let count = try part.withUnsafeMutableBytes { try file.read(into: $0) }
    if count == 0 { return }
    done += Int64(count)
  }
}
