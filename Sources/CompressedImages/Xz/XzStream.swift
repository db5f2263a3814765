// A whole xz file from its beginning to its end, for files whose blocks are too large to be read one by one.

internal import CLzma
internal import Images
internal import SystemPackage

/// Decompresses all streams of a file, one after the other.
struct XzStream: ByteStream, ~Copyable {
  private var input: FileInput
  // SAFETY: liblzma keeps the address until lzma_end; it is this value's alone.
  private let stream: UnsafeMutablePointer<lzma_stream>
  private var isAtEnd = false

  /// The decoder's memory: the largest dictionary that xz has a preset for needs 65 MiB.
  private static let memoryLimit: UInt64 = 2 << 30
  /// LZMA_CONCATENATED, a macro that Swift does not see.
  private static let concatenated: UInt32 = 0x08

  init(_ file: RawImage) throws(CompressedImageError.Problem) {
    input = FileInput(file, 0..<file.size)
    stream = .allocate(capacity: 1)
    stream.initialize(to: lzma_stream())
    guard lzma_stream_decoder(stream, Self.memoryLimit, Self.concatenated) == LZMA_OK else {
      throw .unusable(.noMemory)
    }
  }

  deinit {
    lzma_end(stream)
    stream.deallocate()
  }

  var position: UInt64 { input.position }

  mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(BlockError) -> Int {
    stream.pointee.next_out = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
    stream.pointee.avail_out = buffer.count
    while stream.pointee.avail_out > 0, !isAtEnd {
      if stream.pointee.avail_in == 0 { try input.feed(stream) }
      switch lzma_code(stream, stream.pointee.avail_in == 0 ? LZMA_FINISH : LZMA_RUN) {
      case LZMA_OK: break
      case LZMA_STREAM_END: isAtEnd = true
      case LZMA_MEM_ERROR, LZMA_MEMLIMIT_ERROR: throw .failed(.noMemory)
      default: throw .damaged
      }
    }
    return buffer.count - stream.pointee.avail_out
  }
}

extension FileInput {
  /// Gives liblzma the next piece.
  mutating func feed(_ stream: UnsafeMutablePointer<lzma_stream>) throws(BlockError) {
    do throws(Errno) {
      let piece = try next()
      stream.pointee.next_in = piece.baseAddress
      stream.pointee.avail_in = piece.count
    } catch {
      throw .failed(error)
    }
  }
}
