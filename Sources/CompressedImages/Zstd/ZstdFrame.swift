// What the first bytes of a zstd frame tell (RFC 8878, 3.1.1), and where it ends.
//
// libzstd could tell the end of a frame, too, but only with all of it in memory. The headers of the blocks in it are
// three bytes each, and tell where the next is.

internal import CZstd
internal import Images
internal import SystemPackage

/// A frame of a zstd file.
struct ZstdFrame: Equatable {
  /// First byte after it.
  let end: UInt64
  /// Bytes of the image in it; nil where it does not tell.
  let count: UInt64?
  /// Whether it holds no data of an image, but anything else.
  let isSkippable: Bool

  /// Finds the frame that begins at `start`.
  ///
  /// - Returns: nil where no whole frame of a known kind is there.
  /// - Throws: what reading the file throws.
  static func find(in file: RawImage, at start: UInt64) throws(Errno) -> ZstdFrame? {
    guard let magic = try file.littleEndian(4, at: start) else { return nil }
    if isSkippable(magic: magic) {
      guard let count = try file.littleEndian(4, at: start + 4) else { return nil }
      let end = start + 8 + count
      return end <= file.size ? ZstdFrame(end: end, count: 0, isSkippable: true) : nil
    }
    guard magic == UInt64(ZSTD_MAGICNUMBER), let header = try ZstdFrameHeader(in: file, at: start) else { return nil }
    var place = start + header.length
    while true {
      guard let block = try file.littleEndian(3, at: place) else { return nil }
      let isLast = block & 1 == 1
      let count = block >> 3
      switch block >> 1 & 3 {
      case 0, 2: place += 3 + count
      case 1: place += 3 + 1
      default: return nil
      }
      if isLast { break }
    }
    if header.hasChecksum { place += 4 }
    return place <= file.size ? ZstdFrame(end: place, count: header.count, isSkippable: false) : nil
  }

  static func isSkippable(magic: UInt64) -> Bool {
    magic & UInt64(ZSTD_MAGIC_SKIPPABLE_MASK) == UInt64(ZSTD_MAGIC_SKIPPABLE_START)
  }
}

/// The header of a frame with data.
struct ZstdFrameHeader: Equatable {
  /// How many bytes it takes.
  let length: UInt64
  /// Bytes of the image in the frame; nil where it does not tell.
  let count: UInt64?
  let hasChecksum: Bool

  /// Reads the header at `start`.
  ///
  /// - Returns: nil where none is there that we know.
  init?(in file: RawImage, at start: UInt64) throws(Errno) {
    guard try file.littleEndian(4, at: start) == UInt64(ZSTD_MAGICNUMBER),
      let descriptor = try file.littleEndian(1, at: start + 4), descriptor & 0x08 == 0
    else { return nil }
    let isSingleSegment = descriptor & 0x20 != 0
    let windowLength: UInt64 = isSingleSegment ? 0 : 1
    let dictionaryLength: UInt64 = [0, 1, 2, 4][Int(descriptor & 3)]
    let countLength: UInt64 = [isSingleSegment ? 1 : 0, 2, 4, 8][Int(descriptor >> 6)]
    let countPlace = start + 5 + windowLength + dictionaryLength
    if countLength == 0 {
      count = nil
    } else {
      guard let value = try file.littleEndian(Int(countLength), at: countPlace) else { return nil }
      count = countLength == 2 ? value + 256 : value
    }
    length = 5 + windowLength + dictionaryLength + countLength
    hasChecksum = descriptor & 0x04 != 0
  }
}
