// The bytes of a part of a file, one piece after the other, for decoders that take what comes.

internal import Images
internal import SystemPackage

/// Reads a range of a file in pieces.
struct FileInput: ~Copyable {
  private let file: RawImage
  private let end: UInt64
  // SAFETY: this value's alone until deinit. What ``next()`` returned is overwritten by its next call.
  private let buffer: UnsafeMutableRawBufferPointer

  /// First byte that was not yet read.
  private(set) var position: UInt64

  private static let chunk = 1 << 17

  init(_ file: RawImage, _ range: Range<UInt64>) {
    self.file = file
    position = range.lowerBound
    end = range.upperBound
    buffer = .allocate(byteCount: Int(min(UInt64(Self.chunk), max(16, end - position))), alignment: 16)
  }

  deinit {
    buffer.deallocate()
  }

  /// The next piece, valid until the next call; empty behind the end.
  mutating func next() throws(Errno) -> UnsafeBufferPointer<UInt8> {
    let count = Int(min(UInt64(buffer.count), end - position))
    let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
    try file.read(into: piece, at: position)
    position += UInt64(count)
    return UnsafeBufferPointer(piece.bindMemory(to: UInt8.self))
  }
}

/// A whole file's bytes, decompressed from its beginning to its end.
protocol ByteStream: ~Copyable {
  /// Fills `buffer` with the next bytes.
  ///
  /// - Returns: how many there are; fewer than the buffer has room for only at the end.
  mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(BlockError) -> Int

  /// How many bytes of the file were taken so far.
  var position: UInt64 { get }
}
