// Why a compressed file cannot be used as an image, in the words that the user reads.

internal import SystemPackage

/// A compressed file that cannot be used as a base.
public struct CompressedImageError: Error, Equatable, CustomStringConvertible {
  /// What is wrong.
  enum Problem: Error, Equatable {
    /// The file has no bytes.
    case empty
    /// It does not begin as files of the format do.
    case otherFormat
    /// It holds an archive of files.
    case archive
    /// What tells where its blocks are cannot be read; more words on why.
    case damaged(String)
    /// It was made with something that the library here does not know; more words on what.
    case unknownFeature(String)
    /// A block has this many bytes, and the limit is another number.
    case blockTooLarge(UInt64, limit: UInt64)
    /// It is one piece, which could only be read from its beginning.
    case onePiece
    /// A system call failed on it.
    case unusable(Errno)
    /// There is no room to decompress it to.
    case cannotDecompress(Errno)

    /// Decompressed it takes more than this many bytes, of which so large a part of the file filled them all.
    case beyondLimit(UInt64, part: Double)

    /// Whether decompressing all of it would help.
    var isOfSize: Bool {
      switch self {
      case .blockTooLarge, .onePiece: true
      default: false
      }
    }
  }

  let path: String
  let format: ImageFormat
  let problem: Problem

  /// One line that names the image and the way out.
  public var description: String {
    switch problem {
    case .empty:
      "\(path) is empty, and so no \(format) file"
    case .otherFormat:
      "\(path) is no \(format) file; leave out --format \(format), or pass --format raw to use the file as it is"
    case .archive:
      """
      \(path) is a tar archive and no disk image; unpack the image with `tar`, or pass --format \(format) to use the \
      archive itself
      """
    case .damaged(let why):
      """
      \(path) is damaged or cut off: \(why); get it again, check it with `\(checker)`, or pass --format raw to use the \
      file as it is
      """
    case .unknownFeature(let what):
      "\(path) cannot be read: \(what); make the file again with other options of \(format)"
    case .blockTooLarge(let size, let limit):
      """
      \(path) has a block of \(size) bytes, and only \(limit) are allowed; make the file again with \(remedy), raise \
      --max-block, or pass --decompress
      """
    case .onePiece:
      """
      \(path) is one piece that can only be read from its beginning; make the file again with \(remedy), or pass \
      --decompress to decompress it into the overlay directory first
      """
    case .unusable(.noMemory):
      "\(path): there is not enough memory for its index"
    case .unusable(let error):
      "cannot read the image \(path): \(error)"
    case .beyondLimit(let limit, let part):
      """
      \(path) takes more than \(limit) bytes when it is decompressed, which is all that decompressed copy and overlay \
      may take together (half of the memory with --memory); raise --max-overlay, by the first \(Self.percent(part)) % of \
      it to \(Self.estimate(limit, part))M or more
      """
    case .cannotDecompress(let error):
      "cannot decompress \(path) into the overlay directory: \(error); choose another with --overlay-dir"
    }
  }

  private static func percent(_ part: Double) -> Int { min(100, max(1, Int(100 * part))) }

  /// Mebibytes that the whole file is likely to take.
  private static func estimate(_ limit: UInt64, _ part: Double) -> UInt64 {
    let bytes = min(Double(limit) / min(1, max(part, 1e-6)), 0x1p62)
    return UInt64(bytes) >> 20 + 1
  }

  private var checker: String {
    switch format {
    case .raw: "cmp"
    case .xz: "xz --test"
    case .zstd: "zstd --test"
    case .gzip: "gzip --test"
    }
  }

  /// How to make a file that can be read anywhere.
  private var remedy: String {
    switch format {
    case .raw: "cp"
    case .xz: "`xz --block-size=16M`"
    case .zstd: "`pzstd`, t2sz or zeekstd"
    case .gzip: "`gzip`"
    }
  }
}
