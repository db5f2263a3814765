// An image of any size that has something in it at a few places.

@testable import CopyOnWrite

/// A few pieces of 512 bytes, zeros between them, and a claim to any size.
final class SparseImage: BaseReader {
  static let piece = 512
  private let pieces: [UInt64: [UInt8]]
  let size: UInt64

  init(_ pieces: [UInt64: [UInt8]], size: UInt64) {
    self.pieces = pieces
    self.size = size
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) {
    require(buffer.count <= 8 << 20, "\(buffer.count) bytes are read")
    require(offset <= size && UInt64(buffer.count) <= size - offset, "\(buffer.count) bytes are read at \(offset)")
    buffer.initializeMemory(as: UInt8.self, repeating: 0)
    let wanted = offset..<offset + UInt64(buffer.count)
    for (number, bytes) in pieces {
      let start = number * UInt64(Self.piece)
      let part = (start..<start + UInt64(bytes.count)).clamped(to: wanted)
      for place in part { buffer[Int(place - offset)] = bytes[Int(place - start)] }
    }
  }

  func extent(at offset: UInt64) -> Extent { Extent(isData: true, end: size) }
}

/// The pieces and the size that an input is taken for: a size, then for each piece four bytes with its place (the topmost
/// bit: counted from the end), and what is in it.
func takeImage(_ input: inout Input) -> (pieces: [UInt64: [UInt8]], size: UInt64) {
  let size = input.number() & UInt64(Int64.max)
  let count = size / UInt64(SparseImage.piece)
  var pieces: [UInt64: [UInt8]] = [:]
  while !input.isEmpty, pieces.count < 32 {
    let place = input.number(4)
    let number = place >> 31 == 0 ? place : count &- 1 &- (place & 0x7FFF_FFFF)
    pieces[number % max(1, count)] = input.bytes(SparseImage.piece)
  }
  return (pieces, size)
}
