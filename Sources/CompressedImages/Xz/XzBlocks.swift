// xz: the blocks of all streams of a file, by the index that each stream ends with.
//
// A file has several blocks where it was made with threads or with --block-size, and several streams where files were
// joined; padding between streams is allowed. liblzma's file info decoder reads all that from the end to the beginning
// and checks headers, footers and indexes against each other and against the file's size, so what comes out of it can be
// relied on but for one thing: that the blocks are what the index says. That is checked when one is decompressed.

internal import CLzma
internal import Images
internal import SystemPackage

/// The blocks of an xz file. The detail of each is the kind of its integrity check.
struct XzBlocks: BlockSource {
  private let file: RawImage
  let blocks: BlockTable

  /// Reads the file's indexes.
  init(_ file: RawImage) throws(CompressedImageError.Problem) {
    self.file = file
    var index = XzIndex()
    try index.read(file)
    blocks = try index.blocks()
  }

  func decompress(_ block: BlockTable.Block, into buffer: UnsafeMutableRawBufferPointer) throws(BlockError) {
    var decoder = XzBlockDecoder(file, block)
    try decoder.decompress(into: buffer)
  }

  /// What cannot be verified.
  var remarks: [String] {
    let kinds = Set((0..<blocks.count).lazy.map { blocks[$0].detail }).sorted()
    return kinds.compactMap { kind in
      let check = lzma_check(rawValue: UInt32(kind))
      if check == LZMA_CHECK_NONE { return "has no integrity checks: damage may be read as data" }
      if lzma_check_is_supported(check) != 0 { return nil }
      return "has integrity checks of kind \(kind), which this liblzma cannot verify: damage may be read as data"
    }
  }
}

/// liblzma's index of a whole file.
private struct XzIndex: ~Copyable {
  private var index: OpaquePointer?

  deinit {
    lzma_index_end(index, nil)
  }

  private static let chunk = 1 << 16

  mutating func read(_ file: RawImage) throws(CompressedImageError.Problem) {
    // SAFETY: liblzma keeps the addresses of the stream and of `found` until lzma_end.
    let stream = UnsafeMutablePointer<lzma_stream>.allocate(capacity: 1)
    stream.initialize(to: lzma_stream())
    let found = UnsafeMutablePointer<OpaquePointer?>.allocate(capacity: 1)
    found.initialize(to: nil)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.chunk, alignment: 16)
    defer {
      lzma_end(stream)
      stream.deallocate()
      found.deallocate()
      buffer.deallocate()
    }
    try Self.check(lzma_file_info_decoder(stream, found, Self.memoryLimit(for: file.size), file.size))
    var position: UInt64 = 0
    while true {
      if stream.pointee.avail_in == 0 {
        let count = Int(min(UInt64(Self.chunk), file.size - min(position, file.size)))
        do throws(Errno) {
          try file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]), at: position)
        } catch {
          throw .unusable(error)
        }
        stream.pointee.next_in = UnsafeRawPointer(buffer.baseAddress)?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_in = count
        position += UInt64(count)
      }
      switch lzma_code(stream, position == file.size ? LZMA_FINISH : LZMA_RUN) {
      case LZMA_OK: break
      case LZMA_SEEK_NEEDED:
        position = stream.pointee.seek_pos
        stream.pointee.avail_in = 0
      case LZMA_STREAM_END:
        index = found.pointee
        return
      case let error: try Self.check(error)
      }
    }
  }

  /// An index takes more memory than bytes in the file, but not as much more as one that lies.
  private static func memoryLimit(for size: UInt64) -> UInt64 {
    min(1 << 30, (1 << 20) + min(size, 1 << 30) * 32)
  }

  private static func check(_ result: lzma_ret) throws(CompressedImageError.Problem) {
    switch result {
    case LZMA_OK: return
    case LZMA_FORMAT_ERROR: throw .otherFormat
    case LZMA_OPTIONS_ERROR: throw .unknownFeature("its headers have options that this liblzma does not know")
    case LZMA_MEM_ERROR: throw .unusable(.noMemory)
    case LZMA_MEMLIMIT_ERROR: throw .damaged("its index tells of more blocks than it can have")
    default: throw .damaged("it has no valid index at its end")
    }
  }

  /// Where the blocks are.
  borrowing func blocks() throws(CompressedImageError.Problem) -> BlockTable {
    var table = BlockTable()
    // The index is in memory already, so that many there are.
    table.reserve(Int(clamping: lzma_index_block_count(index)))
    var iterator = lzma_index_iter()
    lzma_index_iter_init(&iterator, index)
    while lzma_index_iter_next(&iterator, LZMA_INDEX_ITER_NONEMPTY_BLOCK) == 0 {
      guard let flags = iterator.stream.flags else { throw .damaged("it has no valid index at its end") }
      let isAdded = table.append(
        count: iterator.block.uncompressed_size, place: iterator.block.compressed_file_offset,
        length: iterator.block.unpadded_size, detail: UInt64(flags.pointee.check.rawValue))
      guard isAdded else { throw .damaged("its index tells of more bytes than a file can have") }
    }
    return table
  }
}
