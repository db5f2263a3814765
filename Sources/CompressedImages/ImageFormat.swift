// Which format a file has, by its first bytes, and what file names tell.

public import Images
public import SystemPackage

/// How the bytes of an image are kept in its file.
public enum ImageFormat: String, CaseIterable, Sendable {
  /// As they are.
  case raw
  /// Compressed by xz.
  case xz
  /// Compressed by zstd.
  case zstd
  /// Compressed by gzip.
  case gzip

  /// Tells the format from the first bytes of a file; raw where they are no compressed format's.
  public static func detect(in file: RawImage) throws(Errno) -> ImageFormat {
    let bytes = try file.bytes(upTo: 6, at: 0)
    return allCases.first { $0.isBegun(by: bytes) } ?? .raw
  }

  private func isBegun(by bytes: [UInt8]) -> Bool {
    switch self {
    case .raw: false
    case .xz: bytes.starts(with: [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00])
    // A frame, or one of sixteen kinds of frames to skip.
    case .zstd:
      bytes.starts(with: [0x28, 0xB5, 0x2F, 0xFD])
        || bytes.count >= 4 && bytes[0] & 0xF0 == 0x50 && bytes[1...3] == [0x2A, 0x4D, 0x18]
    // Deflate is the only method there is.
    case .gzip: bytes.starts(with: [0x1F, 0x8B, 0x08])
    }
  }

  /// What names of files in this format end with.
  private var suffixes: [String] {
    switch self {
    case .raw: []
    case .xz: [".xz"]
    case .zstd: [".zst", ".zstd"]
    case .gzip: [".gz"]
    }
  }

  /// What names of compressed tar archives in this format end with.
  private var archiveSuffixes: [String] {
    suffixes.map { ".tar" + $0 }
      + {
        switch self {
        case .raw: []
        case .xz: [".txz"]
        case .zstd: [".tzst"]
        case .gzip: [".tgz", ".taz"]
        }
      }()
  }

  /// The name of what is in a file of this name.
  func nameInside(_ name: String) -> String { name.droppingSuffix(among: suffixes) ?? name }

  /// Whether a file of this name is an archive.
  func isArchive(_ name: String) -> Bool { archiveSuffixes.contains { name.endsIgnoringCase(with: $0) } }

  /// Whether these first bytes are those of a tar archive.
  static func isArchive(startingWith bytes: [UInt8]) -> Bool {
    bytes.count >= 262 && bytes[257..<262].elementsEqual("ustar".utf8)
  }
}
