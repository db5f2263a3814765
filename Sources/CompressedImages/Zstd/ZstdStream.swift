// zstd frames from the first byte of the first to the last byte of the last, and one frame alone.

internal import CZstd
internal import Images
internal import SystemPackage

/// Decompresses the frames in a range of a file, one after the other.
struct ZstdStream: ByteStream, ~Copyable {
  private var input: FileInput
  private let context: OpaquePointer
  /// What of the last piece of input is left. It points into the input's buffer.
  private var piece = ZSTD_inBuffer(src: nil, size: 0, pos: 0)
  /// Whether the last frame that was begun is complete.
  private var isComplete = true
  private var isAtEnd = false

  init(_ file: RawImage, _ range: Range<UInt64>) throws(BlockError) {
    guard let context = ZSTD_createDCtx() else { throw .failed(.noMemory) }
    // By default, frames made with --long=28 and more are refused. What such a window costs is what is decompressed to it.
    ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZSTD_dParam_getBounds(ZSTD_d_windowLogMax).upperBound)
    self.context = context
    input = FileInput(file, range)
  }

  deinit {
    ZSTD_freeDCtx(context)
  }

  var position: UInt64 { input.position }

  mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(BlockError) -> Int {
    var output = ZSTD_outBuffer(dst: buffer.baseAddress, size: buffer.count, pos: 0)
    while output.pos < output.size, !isAtEnd { try step(&output) }
    return output.pos
  }

  /// Takes the rest of the input, which must have no more bytes for anybody: checksums, and what is to be skipped.
  mutating func finish() throws(BlockError) {
    var byte: UInt8 = 0
    let count = try withUnsafeMutableBytes(of: &byte) { (byte) throws(BlockError) in try read(into: byte) }
    if count > 0 { throw .damaged }
  }

  private mutating func step(_ output: inout ZSTD_outBuffer) throws(BlockError) {
    if piece.pos == piece.size {
      do throws(Errno) {
        let next = try input.next()
        piece = ZSTD_inBuffer(src: next.baseAddress, size: next.count, pos: 0)
      } catch {
        throw .failed(error)
      }
    }
    let isLast = piece.pos == piece.size
    let before = output.pos
    // Without input, there may still be bytes that it holds back.
    let result = ZSTD_decompressStream(context, &output, &piece)
    if ZSTD_isError(result) != 0 { throw Self.error(result) }
    if isLast, output.pos == before {
      guard isComplete else { throw .damaged }
      isAtEnd = true
      return
    }
    isComplete = result == 0
  }

  static func error(_ result: Int) -> BlockError {
    ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation ? .failed(.noMemory) : .damaged
  }
}
