// Images made by hand, byte by byte, so that each can be broken in one place.

package import CopyOnWrite
import Images
package import SystemPackage

/// An image of any size, of which only some blocks of 512 bytes are other than zeros.
package struct HandmadeImage: Sendable {
  package var size: UInt64
  package var blocks: [UInt64: [UInt8]] = [:]
  /// Bytes that cannot be read.
  package var broken: Range<UInt64> = 0..<0

  package init(size: UInt64) { self.size = size }

  package subscript(offset: UInt64) -> UInt8 {
    get { blocks[offset / 512]?[Int(offset % 512)] ?? 0 }
    set { blocks[offset / 512, default: [UInt8](repeating: 0, count: 512)][Int(offset % 512)] = newValue }
  }

  package mutating func put(_ bytes: some Sequence<UInt8>, at offset: UInt64) {
    for (place, byte) in bytes.enumerated() { self[offset + UInt64(place)] = byte }
  }

  /// Puts a little-endian number there.
  package mutating func put<Number: FixedWidthInteger>(_ number: Number, at offset: UInt64) {
    put((0..<Number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> Number(8 * $0)) }, at: offset)
  }

  /// Puts a big-endian number there.
  package mutating func putBig<Number: FixedWidthInteger>(_ number: Number, at offset: UInt64) {
    put(number.byteSwapped, at: offset)
  }

  package func bytes(_ count: Int, at offset: UInt64) -> [UInt8] { (0..<UInt64(count)).map { self[offset + $0] } }

  package func number<Number: FixedWidthInteger>(at offset: UInt64) -> Number {
    bytes(Number.bitWidth / 8, at: offset).integer(at: 0)
  }

  /// The image as the code under test reads it.
  package var reader: Reader { Reader(self) }

  /// Reads the image, and traps where bytes beyond it are asked for.
  package final class Reader: BaseReader {
    private let image: HandmadeImage
    package var size: UInt64 { image.size }

    init(_ image: HandmadeImage) { self.image = image }

    package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
      precondition(
        offset <= size && UInt64(buffer.count) <= size - offset, "bytes beyond the image were asked for")
      if image.broken.overlaps(offset..<offset + UInt64(buffer.count)) { throw .ioError }
      var place = 0
      while place < buffer.count {
        let position = offset + UInt64(place)
        let count = min(512 - Int(position % 512), buffer.count - place)
        let target = UnsafeMutableRawBufferPointer(rebasing: buffer[place..<place + count])
        if let block = image.blocks[position / 512] {
          target.copyBytes(from: block[Int(position % 512)..<Int(position % 512) + count])
        } else {
          target.initializeMemory(as: UInt8.self, repeating: 0)
        }
        place += count
      }
    }

    package func extent(at offset: UInt64) -> Extent { Extent(isData: true, end: size) }
  }
}

extension BaseReader {
  /// Bytes of the image.
  package func bytes(_ range: Range<UInt64>) throws(Errno) -> [UInt8] {
    // What a read leaves out must not compare equal by chance.
    var bytes = [UInt8](repeating: 0xDE, count: range.count)
    try bytes.withUnsafeMutableBufferPointer { (bytes) throws(Errno) in
      try read(into: UnsafeMutableRawBufferPointer(bytes), at: range.lowerBound)
    }
    return bytes
  }
}
