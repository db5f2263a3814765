// Partition tables. Checksums are put right, or nothing behind them would ever be read.

internal import SystemPackage

@testable import BaseImage
@testable import CopyOnWrite

/// Bytes at the start, zeros behind them, and a claim to any size.
private final class FuzzImage: BaseReader {
  let bytes: [UInt8]
  let size: UInt64

  init(_ bytes: [UInt8], size: UInt64) {
    self.bytes = bytes
    self.size = size
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) {
    require(buffer.count <= 8 << 20, "\(buffer.count) bytes are read")
    require(offset <= size && UInt64(buffer.count) <= size - offset, "\(buffer.count) bytes are read at \(offset)")
    for index in buffer.indices {
      let place = offset + UInt64(index)
      buffer[index] = place < bytes.count ? bytes[Int(place)] : 0
    }
  }

  func extent(at offset: UInt64) -> Extent { Extent(isData: true, end: size) }
}

/// A table is refused, or its partitions lie within the image, in whole sectors, and do not overlap.
func fuzzTables(_ input: inout Input) {
  let flags = input.byte()
  let sector = flags & 1 == 0 ? 512 : 4096
  let size = flags & 2 == 0 ? input.number() >> 1 : UInt64(input.byte()) << 12
  var bytes = input.bytes()
  if flags & 4 != 0 { bytes = guidTable(bytes, sector: sector) }
  if flags & 8 == 0, bytes.count >= 512 { bytes.replaceSubrange(510..<512, with: [0x55, 0xAA]) }
  guard let table = try? PartitionTable(of: FuzzImage(bytes, size: max(size, UInt64(bytes.count)))) else { return }
  var last: UInt64 = 0
  for partition in table.partitions.filter({ !$0.isContainer }).sorted(by: { $0.bytes.lowerBound < $1.bytes.lowerBound }
  ) {
    let bytes = partition.bytes
    require(!bytes.isEmpty && bytes.lowerBound >= last, "\(partition) in \(table)")
    require(bytes.lowerBound % table.sectorSize == 0 && bytes.upperBound % table.sectorSize == 0, "\(partition)")
    last = bytes.upperBound
  }
  require(last <= max(size, UInt64(bytes.count)), "\(table) in \(size) bytes")
}

/// Puts a GPT of four entries, with its checksums right, in front of the bytes that it is made of.
private func guidTable(_ content: [UInt8], sector: Int) -> [UInt8] {
  var image = [UInt8](repeating: 0, count: 3 * sector)
  image.replaceSubrange(446..<462, with: [0, 0, 0, 0, 0xEE, 0, 0, 0, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF])
  image.replaceSubrange(510..<512, with: [0x55, 0xAA])
  var header = Array("EFI PART".utf8) + [0, 0, 1, 0, 92, 0, 0, 0] + [UInt8](repeating: 0, count: 76)
  for (index, byte) in content.prefix(68).enumerated() { header[24 + index] = byte }
  header.replaceSubrange(24..<32, with: littleEndian(UInt64(1)))
  header.replaceSubrange(72..<80, with: littleEndian(UInt64(2)))
  header.replaceSubrange(80..<88, with: littleEndian(UInt64(4) | 128 << 32))
  var list = Array(content.dropFirst(68).prefix(512))
  list += [UInt8](repeating: 0, count: 512 - list.count)
  header.replaceSubrange(88..<92, with: littleEndian(CRC32.checksum(list)))
  header.replaceSubrange(16..<20, with: littleEndian(CRC32.checksum(header)))
  image.replaceSubrange(sector..<sector + header.count, with: header)
  image.replaceSubrange(2 * sector..<2 * sector + 512, with: list)
  return image + content.dropFirst(580)
}

private func littleEndian(_ number: some FixedWidthInteger) -> [UInt8] {
  withUnsafeBytes(of: number.littleEndian) { Array($0) }
}
