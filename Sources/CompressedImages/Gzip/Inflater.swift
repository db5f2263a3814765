// zlib's decompressor.

internal import CZlib
internal import Glibc

/// A zlib stream that inflates. Input is not copied: it must stay where it is until it was taken.
struct Inflater: ~Copyable {
  // SAFETY: zlib compares the stream's address with the one that it was started with; it is this value's alone.
  private let stream: UnsafeMutablePointer<z_stream>

  /// What surrounds the deflate data.
  enum Wrapping: CInt {
    /// A gzip header and trailer, which is verified.
    case gzip = 31
    /// Nothing.
    case none = -15
  }

  init() {
    stream = .allocate(capacity: 1)
    stream.initialize(to: z_stream())
  }

  deinit {
    inflateEnd(stream)
    stream.deallocate()
  }

  /// - Returns: false where there is no memory. To be called once, before all others.
  func start(_ wrapping: Wrapping) -> Bool { czlib_inflate_init(stream, wrapping.rawValue) == Z_OK }

  /// Begins anew with the input that is left.
  func restart() { inflateReset(stream) }

  // MARK: Input

  var availableInput: Int { Int(stream.pointee.avail_in) }

  func take(_ piece: UnsafeBufferPointer<UInt8>) {
    stream.pointee.next_in = UnsafeMutablePointer(mutating: piece.baseAddress)
    stream.pointee.avail_in = UInt32(piece.count)
  }

  var firstInputByte: UInt8? { availableInput > 0 ? stream.pointee.next_in.pointee : nil }

  func skipInputByte() {
    stream.pointee.next_in = stream.pointee.next_in?.advanced(by: 1)
    stream.pointee.avail_in -= 1
  }

  // MARK: Output

  /// Decompresses into `buffer` until it is full, the input is used up, or a block of the stream ends.
  ///
  /// - Returns: what zlib says, and the bytes.
  func inflateToBlockEnd(_ buffer: UnsafeMutableRawBufferPointer) -> (CInt, UnsafeRawBufferPointer) {
    inflate(into: buffer, Z_BLOCK)
  }

  /// Decompresses into `buffer` until it is full or the input is used up.
  func inflate(
    into buffer: UnsafeMutableRawBufferPointer, _ flush: CInt = Z_NO_FLUSH
  ) -> (CInt, UnsafeRawBufferPointer) {
    let count = UInt32(clamping: buffer.count)
    stream.pointee.next_out = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
    stream.pointee.avail_out = count
    let result = CZlib.inflate(stream, flush)
    return (result, UnsafeRawBufferPointer(rebasing: buffer[..<Int(count - stream.pointee.avail_out)]))
  }

  // MARK: Places between blocks

  /// Whether the decoder is between a header and a block or between two blocks.
  var isBetweenBlocks: Bool { stream.pointee.data_type & 0xC0 == 0x80 }

  /// Bits of the last byte taken that were not used.
  var unusedBits: CInt { stream.pointee.data_type & 7 }

  /// The last 32 KiB that were put out, compressed; nil where there is no memory.
  func compressedWindow() -> [UInt8]? {
    var window = [UInt8](repeating: 0, count: GzipIndex.windowSize)
    var count = UInt32(window.count)
    guard inflateGetDictionary(stream, &window, &count) == Z_OK else { return nil }
    var length = compressBound(UInt(count))
    var compressed = [UInt8](repeating: 0, count: Int(length))
    guard compress2(&compressed, &length, window, UInt(count), 1) == Z_OK else { return nil }
    return Array(compressed[..<Int(length)])
  }

  /// Goes to a place between blocks: bits of the byte before the input, and a compressed window.
  ///
  /// - Returns: false where there is no memory.
  func resume(bits: CInt, of byte: UInt8, window: [UInt8]) -> Bool {
    if bits > 0, inflatePrime(stream, bits, CInt(byte) >> (8 - bits)) != Z_OK { return false }
    if window.isEmpty { return true }
    var bytes = [UInt8](repeating: 0, count: GzipIndex.windowSize)
    var count = UInt(bytes.count)
    guard uncompress(&bytes, &count, window, UInt(window.count)) == Z_OK else { return false }
    return inflateSetDictionary(stream, bytes, UInt32(count)) == Z_OK
  }
}
