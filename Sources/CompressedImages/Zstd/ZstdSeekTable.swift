// The table of frames that files in the zstd seekable format end with (contrib/seekable_format in zstd's sources): a frame
// to skip, with the sizes of all frames before it and, if its maker wanted, a checksum of each one's content. It is read
// here because libzstd does not do it: the seekable format is among its contributed sources, and not in the library that
// systems install.

internal import Images
internal import SystemPackage

/// A table of frames.
enum ZstdSeekTable {
  private static let magic: UInt64 = 0x8F92_EAB1
  /// Of the frame to skip that holds the table.
  private static let frameMagic: UInt64 = 0x184D_2A5E
  private static let footerLength: UInt64 = 9

  /// What is at the end of a file.
  enum Result {
    /// No table.
    case none
    /// A table that does not fit the file.
    case wrong
    case table(BlockTable)
  }

  /// Looks for a table at the end of `file`, and compares it with the headers of the frames that it tells of.
  static func read(_ file: RawImage) throws(Errno) -> Result {
    guard file.size >= 17, try file.littleEndian(4, at: file.size - 4) == magic else { return .none }
    guard let descriptor = try file.littleEndian(1, at: file.size - 5),
      let count = try file.littleEndian(4, at: file.size - footerLength)
    else { return .none }
    let hasChecksums = descriptor & 0x80 != 0
    let entryLength: UInt64 = hasChecksums ? 12 : 8
    let length = count * entryLength + footerLength
    guard descriptor & 0x7C == 0, length + 8 <= file.size else { return .wrong }
    let start = file.size - length - 8
    guard try file.littleEndian(4, at: start) == frameMagic, try file.littleEndian(4, at: start + 4) == length else {
      return .wrong
    }
    var reader = EntryReader(FileInput(file, start + 8..<file.size - footerLength))
    return try entries(of: file, count, from: &reader, hasChecksums: hasChecksums, end: start)
  }

  private static func entries(
    of file: RawImage, _ count: UInt64, from reader: inout EntryReader, hasChecksums: Bool, end: UInt64
  ) throws(Errno) -> Result {
    var table = BlockTable()
    var place: UInt64 = 0
    for _ in 0..<count {
      let length = UInt64(try reader.next())
      let size = UInt64(try reader.next())
      let checksum = hasChecksums ? ZstdBlocks.detail(checksum: try reader.next()) : 0
      guard length <= end - place, try fits(file, at: place, length: length, size: size),
        table.append(count: size, place: place, length: length, detail: checksum)
      else { return .wrong }
      place += length
    }
    return place == end ? .table(table) : .wrong
  }

  /// Whether a frame begins there that has as many bytes as the table says. One that does not tell is believed if it has
  /// any, because decompressing it will show; one to skip has none.
  private static func fits(_ file: RawImage, at place: UInt64, length: UInt64, size: UInt64) throws(Errno) -> Bool {
    guard length > 0 else { return size == 0 }
    if let header = try ZstdFrameHeader(in: file, at: place) {
      return header.count.map { $0 == size } ?? (size > 0)
    }
    guard size == 0, let magic = try file.littleEndian(4, at: place) else { return false }
    return ZstdFrame.isSkippable(magic: magic)
  }

  /// Numbers of four bytes, one after the other.
  private struct EntryReader: ~Copyable {
    private var input: FileInput
    private var piece = UnsafeRawBufferPointer(start: nil, count: 0)

    init(_ input: consuming FileInput) {
      self.input = input
    }

    /// The next number. Pieces of input are multiples of four, but for the last, behind which nobody asks.
    mutating func next() throws(Errno) -> UInt32 {
      if piece.count < 4 { piece = UnsafeRawBufferPointer(try input.next()) }
      guard piece.count >= 4 else { throw .ioError }
      let number = UInt32(littleEndian: piece.loadUnaligned(as: UInt32.self))
      piece = UnsafeRawBufferPointer(rebasing: piece[4...])
      return number
    }
  }
}
