// Reading an image in sectors, and numbers in what was read. All arithmetic on what an image says is checked here.

internal import CopyOnWrite
internal import SystemPackage

/// An image, counted in sectors.
struct SectorReader {
  private let image: any BaseReader
  let sectorSize: UInt64

  init(of image: any BaseReader, sectorSize: UInt64) {
    precondition(sectorSize >= 512)
    self.image = image
    self.sectorSize = sectorSize
  }

  /// Bytes of the image.
  var size: UInt64 { image.size }

  /// Whole sectors of the image.
  var sectorCount: UInt64 { image.size / sectorSize }

  /// Where sectors are in bytes, whether or not the image has them; nil where that is beyond all sizes.
  func bytes(from first: UInt64, count: UInt64) -> Range<UInt64>? {
    let (end, overflow) = first.addingReportingOverflow(count)
    guard !overflow, end <= UInt64(Int64.max) / sectorSize else { return nil }
    return first * sectorSize..<end * sectorSize
  }

  /// The bytes of one sector; nil where the image does not have all of it.
  func sector(_ number: UInt64) throws(PartitionTableError) -> [UInt8]? {
    guard number < sectorCount else { return nil }
    do {
      return try read(Int(sectorSize), at: number * sectorSize)
    } catch {
      throw .unreadable(at: number * sectorSize, error)
    }
  }

  /// Bytes that the image has.
  func read(_ count: Int, at offset: UInt64) throws(Errno) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try bytes.withUnsafeMutableBufferPointer { (buffer) throws(Errno) in
      try image.read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
    }
    return bytes
  }
}

extension RandomAccessCollection<UInt8> where Index == Int {
  /// The little-endian number whose first byte is `offset` bytes from the start. The caller has as many bytes.
  func integer<Number: FixedWidthInteger>(at offset: Int, as type: Number.Type = Number.self) -> Number {
    var number: Number = 0
    for place in 0..<(Number.bitWidth / 8) {
      number |= Number(truncatingIfNeeded: self[startIndex + offset + place]) << Number(8 * place)
    }
    return number
  }
}

/// A GUID as GPTs have it: the first three of its groups are little-endian.
struct GUID: Equatable {
  private let bytes: [UInt8]

  /// Takes 16 bytes.
  init(_ bytes: some RandomAccessCollection<UInt8>) {
    precondition(bytes.count == 16)
    self.bytes = Array(bytes)
  }

  /// All zeros: no partition.
  var isZero: Bool { bytes.allSatisfy { $0 == 0 } }

  /// As it is written: upper case, with hyphens.
  var text: String {
    let order = [3, 2, 1, 0, -1, 5, 4, -1, 7, 6, -1, 8, 9, -1, 10, 11, 12, 13, 14, 15]
    return order.map { $0 < 0 ? "-" : bytes[$0].hexadecimal }.joined()
  }
}

extension FixedWidthInteger where Self: UnsignedInteger {
  /// All digits, upper case.
  var hexadecimal: String {
    let digits = String(self, radix: 16, uppercase: true)
    return String(repeating: "0", count: bitWidth / 4 - digits.count) + digits
  }
}
