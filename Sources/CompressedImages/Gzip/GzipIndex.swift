// Places in a gzip file from which it can be decompressed, found by decompressing all of it once.
//
// A deflate stream has no index. But between two of its blocks a decoder's whole state is the bit that it is at and the
// last 32 KiB that it put out (zlib's examples/zran.c shows the way, and is all that zlib has of it: an example, without checks of what comes later). Such a place is kept every few MiB, with its window
// compressed, and what lies between two of them is a block for the cache. Each member of a file with several begins
// with a place that needs no window. The members' own checksums are verified here; of each block one is kept, so that
// damage that comes later is noticed, too.

internal import CZlib
internal import Images
internal import SystemPackage

/// The pieces of a gzip file.
struct GzipIndex: Sendable {
  /// Where they are. The detail of each has its CRC32 and, above that, how many bits of its first byte are not yet used.
  private(set) var blocks = BlockTable()
  /// The window of each, compressed; empty where it needs none.
  private(set) var windows: [[UInt8]] = []

  /// The longest distance in a deflate stream.
  static let windowSize = 1 << 15

  /// The CRC32 and the bits of a block.
  static func unpack(detail: UInt64) -> (checksum: UInt32, bits: CInt) {
    (UInt32(truncatingIfNeeded: detail), CInt(detail >> 32))
  }

  /// Decompresses all of a file.
  ///
  /// - Parameters:
  ///   - maxBlock: most bytes between two places.
  ///   - spacing: bytes after which a place is wanted; nil chooses.
  ///   - progress: called with how many of the file's bytes were decompressed.
  init(
    _ file: RawImage, maxBlock: UInt64, spacing: UInt64? = nil, progress: (UInt64) -> Void
  ) throws(CompressedImageError.Problem) {
    var builder = GzipIndexBuilder(
      file, spacing: min(spacing ?? Self.spacing(for: file), max(1, maxBlock / 2)), maxBlock: maxBlock)
    try builder.run(into: &self, progress: progress)
  }

  init() {}

  /// Windows of compressed data compress as the data does: 32 KiB in so many take about that share of the file's size,
  /// which is kept below 64 MiB.
  private static func spacing(for file: RawImage) -> UInt64 { max(4 << 20, file.size / 2048) }

  /// Adds a block behind the others. An empty one is left out.
  mutating func append(_ place: Place, count: UInt64, end: UInt64, checksum: UInt32) -> Bool {
    guard count > 0 else { return true }
    let detail = UInt64(place.bits) << 32 | UInt64(checksum)
    guard blocks.append(count: count, place: place.input, length: end - place.input, detail: detail) else {
      return false
    }
    windows.append(place.window)
    return true
  }

  /// A place to begin from.
  struct Place {
    /// The first byte of the file that has bits not yet used.
    var input: UInt64
    /// How many, from the highest down; 0 where all of it is unused.
    var bits: CInt
    /// The bytes before, compressed.
    var window: [UInt8]
  }
}

/// What is known in the middle of the pass over a file.
private struct GzipIndexBuilder: ~Copyable {
  private let file: RawImage
  private let spacing: UInt64
  private let maxBlock: UInt64
  private var input: FileInput
  private let inflater: Inflater
  private let output = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
  /// Where the block begins that is being decompressed; nil between members.
  private var place: GzipIndex.Place?
  /// Its bytes so far, and their checksum.
  private var count: UInt64 = 0
  private var checksum: UInt = 0

  init(_ file: RawImage, spacing: UInt64, maxBlock: UInt64) {
    self.file = file
    self.spacing = spacing
    self.maxBlock = maxBlock
    input = FileInput(file, 0..<file.size)
    inflater = Inflater()
  }

  deinit {
    output.deallocate()
  }

  /// First byte of the file that the decoder has not taken.
  private var position: UInt64 { input.position - UInt64(inflater.availableInput) }

  mutating func run(
    into index: inout GzipIndex, progress: (UInt64) -> Void
  ) throws(CompressedImageError.Problem) {
    guard inflater.start(.gzip) else { throw .unusable(.noMemory) }
    var isFirst = true
    repeat {
      try readMember(isFirst: isFirst, into: &index, progress: progress)
      isFirst = false
    } while try hasAnotherMember()
  }

  private mutating func readMember(
    isFirst: Bool, into index: inout GzipIndex, progress: (UInt64) -> Void
  ) throws(CompressedImageError.Problem) {
    place = nil
    while true {
      if inflater.availableInput == 0 {
        try takeInput()
        if inflater.availableInput == 0 { throw .damaged("it ends in the middle") }
        progress(input.position)
      }
      let (result, made) = inflater.inflateToBlockEnd(output)
      count += UInt64(made.count)
      checksum = crc32(checksum, made.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt32(made.count))
      switch result {
      case Z_OK, Z_BUF_ERROR: break
      case Z_STREAM_END: return try close(&index, end: position)
      case Z_MEM_ERROR: throw .unusable(.noMemory)
      default:
        if isFirst, place == nil { throw .otherFormat }
        throw .damaged("it cannot be decompressed from byte \(position) on")
      }
      guard count <= maxBlock else { throw .onePiece }
      if inflater.isBetweenBlocks, place == nil || count >= spacing {
        try close(&index, end: position)
        try begin()
      }
    }
  }

  /// Begins a block where the decoder is.
  private mutating func begin() throws(CompressedImageError.Problem) {
    let bits = inflater.unusedBits
    let isMemberStart = place == nil
    guard let window = isMemberStart ? [] : inflater.compressedWindow() else { throw .unusable(.noMemory) }
    place = GzipIndex.Place(input: position - (bits > 0 ? 1 : 0), bits: bits, window: window)
    count = 0
    checksum = 0
  }

  /// Ends the block that was begun.
  private mutating func close(_ index: inout GzipIndex, end: UInt64) throws(CompressedImageError.Problem) {
    guard let place else { return }
    guard index.append(place, count: count, end: end, checksum: UInt32(checksum)) else {
      throw .damaged("it has more bytes than a file can have")
    }
  }

  /// Whether something follows a member. Zeros up to the end, as tapes have them, are nothing.
  private mutating func hasAnotherMember() throws(CompressedImageError.Problem) -> Bool {
    var isPadding = false
    while true {
      if inflater.availableInput == 0 { try takeInput() }
      guard let byte = inflater.firstInputByte else { return false }
      if byte != 0 {
        guard !isPadding, byte == 0x1F else { throw .damaged("at byte \(position), other bytes follow its end") }
        inflater.restart()
        count = 0
        return true
      }
      isPadding = true
      inflater.skipInputByte()
    }
  }

  private mutating func takeInput() throws(CompressedImageError.Problem) {
    do throws(Errno) {
      inflater.take(try input.next())
    } catch {
      throw .unusable(error)
    }
  }
}
