// Small pieces of an image, as headers and tables are read, and the numbers in them. Nothing here is read unless the image
// has all of it; whether the numbers make sense is for who knows the format to check.

package import CopyOnWrite
package import SystemPackage

extension BaseReader {
  /// Bytes of the image; nil where it does not have all of them.
  ///
  /// - Parameter count: how many, few enough to have in memory; the caller does not take it from an image unchecked.
  package func bytes(_ count: Int, at offset: UInt64) throws(Errno) -> [UInt8]? {
    guard offset <= size, UInt64(count) <= size - offset else { return nil }
    var bytes = [UInt8](repeating: 0, count: count)
    try bytes.withUnsafeMutableBufferPointer { (buffer) throws(Errno) in
      try read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
    }
    return bytes
  }

  /// As many bytes as the image has from `offset` on, at most `count`.
  package func bytes(upTo count: Int, at offset: UInt64) throws(Errno) -> [UInt8] {
    guard offset < size else { return [] }
    return try bytes(Int(min(UInt64(count), size - offset)), at: offset) ?? []
  }

  /// A little-endian number of up to 8 bytes; nil where the image ends before its last.
  package func littleEndian(_ count: Int, at offset: UInt64) throws(Errno) -> UInt64? {
    guard offset <= size, UInt64(count) <= size - offset else { return nil }
    var number: UInt64 = 0
    // SAFETY: 8 bytes of which `count` are filled; every Linux that Swift runs on is little-endian.
    try withUnsafeMutableBytes(of: &number) { (bytes) throws(Errno) in
      try read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<count]), at: offset)
    }
    return UInt64(littleEndian: number)
  }
}

extension RandomAccessCollection<UInt8> where Index == Int {
  /// The little-endian number whose first byte is `offset` bytes from the start. The caller has as many bytes.
  package func integer<Number: FixedWidthInteger>(at offset: Int, as type: Number.Type = Number.self) -> Number {
    var number: Number = 0
    for place in 0..<(Number.bitWidth / 8) {
      number |= Number(truncatingIfNeeded: self[startIndex + offset + place]) << Number(8 * place)
    }
    return number
  }

  /// The big-endian number whose first byte is `offset` bytes from the start. The caller has as many bytes.
  package func bigEndian<Number: FixedWidthInteger>(at offset: Int, as type: Number.Type = Number.self) -> Number {
    integer(at: offset, as: Number.self).byteSwapped
  }
}

extension FixedWidthInteger where Self: UnsignedInteger {
  /// All digits, upper case.
  package var hexadecimal: String {
    let digits = String(self, radix: 16, uppercase: true)
    return String(repeating: "0", count: bitWidth / 4 - digits.count) + digits
  }
}
