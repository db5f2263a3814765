// A small file system in memory, to be filled up. It hangs nowhere in the tree but for a moment, so that nothing of it is
// left when a test is killed.

import DiskIO
import Glibc
import SystemPackage
import TestSupport

/// A tmpfs of its own, or another file system that needs no device, that goes away with this value. Needs privileges.
struct TinyFileSystem: ~Copyable {
  static var isAvailable: Bool { (try? TinyFileSystem(bytes: 1 << 16)) != nil }

  private let directory: File

  /// The root directory, as long as the value lives.
  var path: FilePath { FilePath("/proc/self/fd/\(directory.descriptor)") }

  init(_ type: String = "tmpfs", bytes: Int) throws(Errno) { try self.init(type, options: "size=\(bytes)") }

  init(_ type: String = "tmpfs", options: String) throws(Errno) {
    var template = Array("\(scratchDirectory)/cowmount-test.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Errno(rawValue: errno) }
    defer { rmdir(template) }
    guard mount("cowmount-test", template, type, 0, options) == 0 else { throw Errno(rawValue: errno) }
    defer { umount2(template, CInt(MNT_DETACH)) }
    let descriptor = open(template, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor != -1 else { throw Errno(rawValue: errno) }
    directory = File(adopting: descriptor)
  }

  /// Bytes that are free.
  borrowing func free() throws(Errno) -> UInt64 { try directory.availableSpace() }

  /// Takes all but that many bytes until the result goes away.
  borrowing func ballast(leaving left: UInt64) throws(Errno) -> File {
    let file = try File.scratch(in: path)
    let free = try free()
    if free > left { try file.reserve(0..<free - left) }
    return file
  }
}
