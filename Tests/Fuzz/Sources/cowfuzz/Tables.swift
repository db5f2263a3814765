// Partition tables on an image of any size that has sectors with something in them at any place. Signatures and checksums
// are put right, or nothing behind them would ever be read.

internal import Images
internal import SystemPackage

@testable import CopyOnWrite
@testable import PartitionTables

/// Boot records, each with its signature.
func fuzzBootRecords(_ input: inout Input) {
  let flags = input.byte()
  var (pieces, size) = takeImage(&input)
  for (place, bytes) in pieces where bytes.count == SparseImage.piece && flags & 1 == 0 {
    pieces[place]?.replaceSubrange(510..<512, with: [0x55, 0xAA])
  }
  expectSound(SparseImage(pieces, size: size), sectorSize: [nil, 512, 4096][Int(flags >> 1) % 3])
}

/// A GPT with its checksums, and a protective MBR.
func fuzzGuidTables(_ input: inout Input) {
  let flags = input.byte()
  var (pieces, size) = takeImage(&input)
  if flags & 1 == 0, size >= UInt64(SparseImage.piece) {
    var record = [UInt8](repeating: 0, count: SparseImage.piece)
    record[450] = 0xEE
    record[458] = 1
    record.replaceSubrange(510..<512, with: [0x55, 0xAA])
    pieces[0] = record
  }
  let sectorSize: UInt64 = flags & 2 == 0 ? 512 : 4096
  for (place, bytes) in pieces where bytes.starts(with: Array("EFI PART".utf8)) && bytes.count >= 92 {
    pieces[place] = signed(bytes, over: SparseImage(pieces, size: size), sectorSize: sectorSize)
  }
  expectSound(SparseImage(pieces, size: size), sectorSize: [nil, 512, 4096][Int(flags >> 2) % 3])
}

/// A header with the checksums of its list and of itself.
private func signed(_ header: [UInt8], over image: SparseImage, sectorSize: UInt64) -> [UInt8] {
  var header = header
  let (start, overflow) = (header.integer(at: 72) as UInt64).multipliedReportingOverflow(by: sectorSize)
  let count = (header.integer(at: 80) as UInt32).multipliedReportingOverflow(by: header.integer(at: 84))
  if !overflow, !count.overflow, count.partialValue <= 1 << 16, start <= image.size,
    UInt64(count.partialValue) <= image.size - start
  {
    var list = [UInt8](repeating: 0, count: Int(count.partialValue))
    list.withUnsafeMutableBytes { image.read(into: $0, at: start) }
    header.replaceSubrange(88..<92, with: littleEndian(GuidTable.checksum(of: list)))
  }
  let size = min(Int(header.integer(at: 12) as UInt32), header.count)
  if size >= 20 {
    let summed = header[..<16] + [0, 0, 0, 0] + header[20..<size]
    header.replaceSubrange(16..<20, with: littleEndian(GuidTable.checksum(of: Array(summed))))
  }
  return header
}

/// A table is refused in one line, or its partitions lie within the image, in whole sectors, and do not overlap.
private func expectSound(_ image: SparseImage, sectorSize: UInt64?) {
  let table: PartitionTable
  do { table = try PartitionTable(of: image, sectorSize: sectorSize) } catch {
    require(!error.description.contains("\n"), error.description)
    return
  }
  let containers = table.partitions.filter(\.isContainer)
  var last: UInt64 = 0
  for partition in (table.partitions.filter { !$0.isContainer }.sorted { $0.bytes.lowerBound < $1.bytes.lowerBound }) {
    let bytes = partition.bytes
    require(!bytes.isEmpty && bytes.lowerBound >= last && bytes.upperBound <= image.size, "\(partition) in \(table)")
    let isWhole = bytes.lowerBound % table.sectorSize == 0 && bytes.upperBound % table.sectorSize == 0
    require(isWhole, "\(partition) is not in whole sectors")
    if table.kind == .mbr, partition.number > 4 {
      require(containers.contains { $0.bytes.contains(bytes) }, "\(partition) is in no container of \(table)")
    }
    require((try? table.partition(partition.number)) == partition, "\(partition.number) is another")
    last = bytes.upperBound
  }
  require(Set(table.partitions.map(\.number)).count == table.partitions.count, "a number comes twice: \(table)")
}

func littleEndian(_ number: some FixedWidthInteger) -> [UInt8] {
  withUnsafeBytes(of: number.littleEndian) { Array($0) }
}
