// gzip: the pieces of a file between places that GzipIndex has found.

internal import CZlib
internal import Images
internal import SystemPackage

/// The pieces of a gzip file.
struct GzipBlocks: BlockSource {
  private let file: RawImage
  private let index: GzipIndex

  var blocks: BlockTable { index.blocks }

  init(_ file: RawImage, _ index: GzipIndex) {
    self.file = file
    self.index = index
  }

  func decompress(_ block: BlockTable.Block, into buffer: UnsafeMutableRawBufferPointer) throws(BlockError) {
    let (checksum, bits) = GzipIndex.unpack(detail: block.detail)
    let inflater = Inflater()
    guard inflater.start(.none) else { throw .failed(.noMemory) }
    var input = FileInput(file, block.place..<block.place + block.length)
    try take(from: &input, inflater)
    // The first byte is partly used.
    let first = inflater.firstInputByte ?? 0
    if bits > 0, inflater.firstInputByte != nil { inflater.skipInputByte() }
    guard inflater.resume(bits: bits, of: first, window: index.windows[block.number]) else {
      throw .failed(.noMemory)
    }
    var done = 0
    var crc: UInt = 0
    while done < buffer.count {
      if inflater.availableInput == 0 { try take(from: &input, inflater) }
      let (result, made) = inflater.inflate(into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]))
      crc = crc32(crc, made.baseAddress?.assumingMemoryBound(to: UInt8.self), UInt32(made.count))
      done += made.count
      if result == Z_MEM_ERROR { throw .failed(.noMemory) }
      // The end of a member is that of its last block, too. Without input, nothing more comes.
      let isStuck = made.isEmpty && inflater.availableInput == 0 && input.position == block.place + block.length
      guard result == Z_OK || result == Z_BUF_ERROR && !isStuck || result == Z_STREAM_END && done == buffer.count else {
        throw .damaged
      }
    }
    if UInt64(buffer.count) == block.count, UInt32(crc) != checksum { throw .damaged }
  }

  private func take(from input: inout FileInput, _ inflater: borrowing Inflater) throws(BlockError) {
    do throws(Errno) {
      inflater.take(try input.next())
    } catch {
      throw .failed(error)
    }
  }
}

/// A whole gzip file from its beginning to its end, for files that cannot be read in pieces.
struct GzipStream: ByteStream, ~Copyable {
  private var input: FileInput
  private let inflater: Inflater
  private var isAtEnd = false

  init(_ file: RawImage) throws(CompressedImageError.Problem) {
    input = FileInput(file, 0..<file.size)
    inflater = Inflater()
    guard inflater.start(.gzip) else { throw .unusable(.noMemory) }
  }

  var position: UInt64 { input.position }

  mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(BlockError) -> Int {
    var done = 0
    while done < buffer.count, !isAtEnd {
      try takeInput()
      let (result, made) = inflater.inflate(into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]))
      done += made.count
      switch result {
      case Z_OK: break
      case Z_STREAM_END: try goToNextMember()
      case Z_MEM_ERROR: throw .failed(.noMemory)
      default: throw .damaged
      }
    }
    return done
  }

  /// Skips padding of zeros.
  private mutating func goToNextMember() throws(BlockError) {
    var isPadding = false
    while true {
      try takeInput()
      guard let byte = inflater.firstInputByte else {
        isAtEnd = true
        return
      }
      if byte != 0 {
        guard !isPadding, byte == 0x1F else { throw .damaged }
        return inflater.restart()
      }
      isPadding = true
      inflater.skipInputByte()
    }
  }

  private mutating func takeInput() throws(BlockError) {
    guard inflater.availableInput == 0 else { return }
    do throws(Errno) {
      inflater.take(try input.next())
    } catch {
      throw .failed(error)
    }
  }
}
