// Decompressing one block of an xz file and verifying it.

internal import CLzma
internal import Glibc
internal import Images
internal import SystemPackage

/// A decoder for one block, to be used once and by one thread.
struct XzBlockDecoder: ~Copyable {
  private let place: BlockTable.Block
  private var input: FileInput
  // SAFETY: liblzma keeps the addresses of these three between calls; they are this value's alone, and freed after
  // lzma_end.
  private let stream: UnsafeMutablePointer<lzma_stream>
  private let block: UnsafeMutablePointer<lzma_block>
  private let filters: UnsafeMutablePointer<lzma_filter>

  /// LZMA_VLI_UNKNOWN and LZMA_FILTER_LZMA2: macros that Swift does not see.
  private static let unknown = UInt64.max
  private static let lzma2: UInt64 = 0x21

  private static let filterCount = Int(LZMA_FILTERS_MAX) + 1

  init(_ file: RawImage, _ place: BlockTable.Block) {
    self.place = place
    // With the padding to a multiple of four. The index was checked: no overflow.
    input = FileInput(file, place.place..<place.place + (place.length + 3) & ~3)
    stream = .allocate(capacity: 1)
    stream.initialize(to: lzma_stream())
    block = .allocate(capacity: 1)
    block.initialize(to: lzma_block())
    filters = .allocate(capacity: Self.filterCount)
    filters.initialize(repeating: lzma_filter(id: Self.unknown, options: nil), count: Self.filterCount)
  }

  deinit {
    lzma_end(stream)
    lzma_filters_free(filters, nil)
    stream.deallocate()
    block.deallocate()
    filters.deallocate()
  }

  /// Decompresses the first bytes of the block; where that is all of them, they are verified.
  mutating func decompress(into buffer: UnsafeMutableRawBufferPointer) throws(BlockError) {
    try input.feed(stream)
    let headerSize = try readHeader()
    guard lzma_block_decoder(stream, block) == LZMA_OK else { throw .damaged }
    // Written out: with += and -=, Swift 6.3 crashes under --sanitize thread.
    stream.pointee.next_in = stream.pointee.next_in?.advanced(by: headerSize)
    stream.pointee.avail_in = stream.pointee.avail_in - headerSize
    stream.pointee.next_out = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
    stream.pointee.avail_out = buffer.count
    let isWhole = UInt64(buffer.count) == place.count
    while true {
      if stream.pointee.avail_in == 0 { try input.feed(stream) }
      let result = lzma_code(stream, LZMA_RUN)
      if !isWhole, result == LZMA_OK || result == LZMA_STREAM_END, stream.pointee.avail_out == 0 { return }
      switch result {
      case LZMA_OK: break
      case LZMA_STREAM_END:
        guard stream.pointee.total_out == place.count else { throw .damaged }
        return
      case LZMA_MEM_ERROR: throw .failed(.noMemory)
      // Where input or room for output is missing, LZMA_BUF_ERROR is what ends it.
      default: throw .damaged
      }
    }
  }

  /// Takes the header apart, which the first piece of input begins with, and checks it against the index.
  ///
  /// - Returns: its size.
  private func readHeader() throws(BlockError) -> Int {
    guard let start = stream.pointee.next_in, stream.pointee.avail_in > 0, start[0] != 0 else { throw .damaged }
    let headerSize = (Int(start[0]) + 1) * 4
    guard headerSize <= stream.pointee.avail_in else { throw .damaged }
    block.pointee.version = 1
    block.pointee.filters = filters
    block.pointee.check = lzma_check(rawValue: UInt32(place.detail))
    block.pointee.header_size = UInt32(headerSize)
    switch lzma_block_header_decode(block, nil, start) {
    case LZMA_OK: break
    case LZMA_MEM_ERROR: throw .failed(.noMemory)
    default: throw .damaged
    }
    guard lzma_block_compressed_size(block, place.length) == LZMA_OK else { throw .damaged }
    guard [Self.unknown, place.count].contains(block.pointee.uncompressed_size) else { throw .damaged }
    block.pointee.uncompressed_size = place.count
    limitDictionary()
    return headerSize
  }

  /// A dictionary never needs more bytes than the block has, whatever the header says: without this, a few bytes of a
  /// bad file would allocate 4 GiB, and small blocks would cost as much memory as large ones.
  private func limitDictionary() {
    for index in 0..<Self.filterCount {
      let filter = filters[index]
      guard filter.id != Self.unknown else { return }
      guard filter.id == Self.lzma2, let options = filter.options else { continue }
      let lzma = options.assumingMemoryBound(to: lzma_options_lzma.self)
      lzma.pointee.dict_size = min(lzma.pointee.dict_size, max(4096, UInt32(clamping: place.count)))
    }
  }
}
