// The kernel's list of mounts (/proc/self/mountinfo, proc(5)). It answers without touching any of them, which matters
// where one of them is dead or is served by ourselves.

import DiskIO
import SystemPackage

/// One line of the mount table.
public struct MountTableEntry: Equatable, Sendable {
  /// `major:minor` of the file system.
  public let device: String
  /// Where it is mounted.
  public let mountpoint: FilePath
  /// Type, with a FUSE subtype behind a dot: `fuse.cowmount`.
  public let type: String
  /// What is mounted, for cowmount the image.
  public let source: String
}

/// The mounts that this process sees, oldest first.
public struct MountTable: Sendable {
  /// All of them, in the kernel's order.
  public let entries: [MountTableEntry]

  /// Reads the table.
  public init() throws(Errno) {
    entries = Self.parse(try File.readText("/proc/self/mountinfo"))
  }

  /// Takes the table from the text of a mountinfo file. Lines that are not understood are left out.
  ///
  /// In bytes, as the kernel writes it: in a String, a blank with an accent behind it would be no blank.
  static func parse(_ text: String) -> [MountTableEntry] {
    text.utf8.split(separator: UInt8(ascii: "\n")).compactMap { line in
      // 36 35 98:0 /root /mount/point rw,noatime shared:1 - type source options
      let fields = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
      guard fields.count > 6, let separator = fields.firstIndex(where: { $0.elementsEqual("-".utf8) }),
        separator + 2 < fields.count
      else { return nil }
      return MountTableEntry(
        device: unescape(fields[2]), mountpoint: FilePath(unescape(fields[4])), type: unescape(fields[separator + 1]),
        source: unescape(fields[separator + 2]))
    }
  }

  /// What is mounted at exactly this path, the uppermost where there are several.
  public func entry(at path: FilePath) -> MountTableEntry? {
    entries.last { $0.mountpoint == path }
  }

  /// Blanks and backslashes stand as three octal digits behind a backslash.
  private static func unescape(_ field: Substring.UTF8View) -> String {
    var bytes: [UInt8] = []
    var rest = field
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy({ (0x30...0x37).contains($0) }),
        let code = UInt8(String(Substring(digits)), radix: 8)
      {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
