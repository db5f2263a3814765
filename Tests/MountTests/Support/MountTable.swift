// The kernel's list of mounts.

import Glibc
import SystemPackage

struct MountEntry: Equatable, Sendable {
  /// Tells one mount from another at the same place.
  let device: String
  let mountpoint: String
  let options: [Substring]
  let type: String
  let source: String
  /// Options of the file system, rather than of the mount.
  let superOptions: [Substring]

  /// All mounts, oldest first.
  static func all() throws -> [MountEntry] {
    try readText("/proc/self/mountinfo").split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      guard let dash = fields.firstIndex(of: "-"), fields.count > dash + 3 else { return nil }
      return MountEntry(
        device: String(fields[2]), mountpoint: unescape(fields[4]), options: fields[5].split(separator: ","),
        type: String(fields[dash + 1]), source: unescape(fields[dash + 2]),
        superOptions: fields[dash + 3].split(separator: ","))
    }
  }

  /// What is mounted at this very path, the uppermost.
  static func at(_ path: String) throws -> MountEntry? {
    try all().last { $0.mountpoint == path }
  }

  /// Mounts at and below a path.
  static func under(_ path: String) throws -> [MountEntry] {
    try all().filter { $0.mountpoint == path || $0.mountpoint.hasPrefix(path + "/") }
  }

  /// Blank, tab, newline and backslash are written as a backslash and three octal digits.
  private static func unescape(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8) {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
