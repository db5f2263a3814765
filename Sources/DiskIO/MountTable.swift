// The kernel's list of mounts (/proc/self/mountinfo, proc(5)). It answers without touching any of them, which matters
// where one of them is dead or is served by ourselves.

public import SystemPackage

/// One line of the mount table.
public struct MountTableEntry: Equatable, Sendable {
  /// The mount's number, its own for as long as it stands.
  public let id: UInt64
  /// `major:minor` of the file system.
  public let device: String
  /// Where it is mounted.
  public let mountpoint: FilePath
  /// Type, with a FUSE subtype behind a dot: `fuse.cowmount`.
  public let type: String
  /// What is mounted, for cowmount the image.
  public let source: String
  /// Options of the file system, with commas between them.
  public let options: String
}

/// The mounts that this process sees, oldest first.
public struct MountTable: Sendable {
  /// All of them, in the kernel's order.
  public let entries: [MountTableEntry]

  /// Reads the table.
  public init() throws(Errno) {
    entries = Self.parse(try File.readBytes("/proc/self/mountinfo"))
  }

  /// Takes the table from the bytes of a mountinfo file. Lines that are not understood are left out.
  static func parse(_ text: some Collection<UInt8>) -> [MountTableEntry] {
    text.split(separator: UInt8(ascii: "\n")).compactMap { line in
      // 36 35 98:0 /root /mount/point rw,noatime shared:1 - type source options
      let fields = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
      guard fields.count > 6, let separator = fields.firstIndex(where: { $0.elementsEqual("-".utf8) }),
        separator + 2 < fields.count, let id = UInt64(String(decoding: fields[0], as: UTF8.self))
      else { return nil }
      return MountTableEntry(
        id: id, device: unescape(fields[2]), mountpoint: FilePath(bytes: unescaped(fields[4])),
        type: unescape(fields[separator + 1]), source: unescape(fields[separator + 2]),
        options: separator + 3 < fields.count ? unescape(fields[separator + 3]) : "")
    }
  }

  /// The mount of this number.
  public func entry(id: UInt64) -> MountTableEntry? {
    entries.first { $0.id == id }
  }

  private static func unescape(_ field: some Collection<UInt8>) -> String {
    String(decoding: unescaped(field), as: UTF8.self)
  }

  /// Blanks and backslashes stand as three octal digits behind a backslash.
  private static func unescaped(_ field: some Collection<UInt8>) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = Array(field)[...]
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy({ (0x30...0x37).contains($0) }),
        let code = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
      {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return bytes
  }
}
