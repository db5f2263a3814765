// Files that are no disk images though they hold one: archives, and images in formats that others read. They can be mounted,
// since a raw disk has any bytes, but hardly anybody means to.

internal import DiskIO

/// What a file is that somebody took for a disk image.
public enum ForeignFormat: String, CaseIterable, Sendable {
  /// Compressed, in a way that is not read here.
  case bzip2, lz4, lzip
  /// An archive.
  case sevenZip = "7z"
  case tar, zip, rar
  /// An image as forensic programs write it (EnCase, Expert Witness).
  case ewf = "Expert Witness (E01)"

  /// Tells the format from the first bytes; nil for what may be a disk.
  public static func detect(in file: RawImage) -> ForeignFormat? {
    var bytes = [UInt8](repeating: 0, count: Int(min(file.size, 512)))
    let isRead = bytes.withUnsafeMutableBytes { buffer in
      buffer.isEmpty || (try? file.read(into: buffer, at: 0)) != nil
    }
    guard isRead else { return nil }
    return allCases.first { $0.isBegun(by: bytes) }
  }

  private func isBegun(by bytes: [UInt8]) -> Bool {
    switch self {
    // A block, or the end of an empty stream, follows.
    case .bzip2:
      bytes.starts(with: "BZh".utf8) && bytes.count >= 10 && (0x31...0x39).contains(bytes[3])
        && [[0x31, 0x41, 0x59, 0x26, 0x53, 0x59], [0x17, 0x72, 0x45, 0x38, 0x50, 0x90]].contains(bytes[4..<10])
    case .lz4: bytes.starts(with: [0x04, 0x22, 0x4D, 0x18])
    case .lzip: bytes.starts(with: Array("LZIP".utf8) + [1])
    case .sevenZip: bytes.starts(with: [0x37, 0x7A, 0xBC, 0xAF, 0x27, 0x1C])
    case .tar: bytes.count >= 262 && bytes[257..<262].elementsEqual("ustar".utf8)
    case .zip: bytes.starts(with: [0x50, 0x4B, 0x03, 0x04])
    case .rar: bytes.starts(with: Array("Rar!".utf8) + [0x1A, 0x07])
    case .ewf: bytes.starts(with: Array("EVF".utf8) + [0x09, 0x0D, 0x0A, 0xFF, 0x00])
    }
  }

  /// One line for who mounts such a file: what it looks like, and how to go on.
  public func advice(on path: String) -> String {
    let way =
      switch self {
      case .bzip2: "unpack it (bunzip2 --keep)"
      case .lz4: "unpack it (lz4 -d)"
      case .lzip: "unpack it (lzip --decompress --keep)"
      case .sevenZip: "unpack it (7z x)"
      case .tar: "unpack it (tar -xf)"
      case .zip: "unpack it (unzip)"
      case .rar: "unpack it (unrar x)"
      case .ewf: "let ewfmount show the disk in it"
      }
    return "\(path) looks like a file in the format \(rawValue), and not like a disk; \(way), or say --format raw"
  }
}
