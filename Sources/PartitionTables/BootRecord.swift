// Master boot records: the table of four primary partitions in the first sector, and the chain of extended boot records
// (EBRs) in an extended partition, each a sector of the same form that has one logical partition and the way to the next.

internal import CopyOnWrite
internal import Images

/// A sector with the form of a boot record.
struct BootRecord {
  /// One of its four entries.
  struct Entry: Equatable {
    /// 0x80 on the partition to boot from, else 0.
    let status: UInt8
    let type: UInt8
    let firstSector: UInt64
    let sectorCount: UInt64

    /// Whether it describes something. A type of 0 means unused, whatever the rest says.
    var isUsed: Bool { type != 0 && sectorCount != 0 }
    var isExtended: Bool { [0x05, 0x0F, 0x85].contains(type) }
    /// What a protective MBR has, so that programs that know no GPT take the disk for full.
    var isProtective: Bool { type == 0xEE }
  }

  static let entryCount = 4
  private static let firstEntry = 446
  private static let entrySize = 16
  private static let signature: UInt16 = 0xAA55
  /// More links than any real chain has; Linux stops at 100.
  private static let longestChain = 256

  private let bytes: [UInt8]
  let entries: [Entry]

  /// Takes a sector of 512 bytes or more; nil where it has not the signature of a boot record.
  init?(_ sector: [UInt8]) {
    guard sector.count >= 512, sector.integer(at: 510) == Self.signature else { return nil }
    bytes = sector
    entries = (0..<Self.entryCount).map { index in
      let place = Self.firstEntry + index * Self.entrySize
      return Entry(
        status: sector[place], type: sector[place + 4],
        firstSector: UInt64(sector.integer(at: place + 8, as: UInt32.self)),
        sectorCount: UInt64(sector.integer(at: place + 12, as: UInt32.self)))
    }
  }

  /// Whether it announces a GPT.
  var isProtective: Bool { entries.contains { $0.isProtective } }

  /// Whether it announces a GPT and has partitions beside it.
  var isHybrid: Bool { isProtective && entries.contains { $0.isUsed && !$0.isProtective } }

  /// Whether there can be a table in it. A file system's boot sector has the same signature, and other bytes where a table
  /// has its marks for booting.
  var isTable: Bool { entries.allSatisfy { $0.status & 0x7F == 0 } }

  /// The file system whose boot sector this is, as it says itself.
  var fileSystem: String? {
    let marks: [(offset: Int, text: String, name: String)] = [
      (3, "NTFS    ", "NTFS"), (3, "EXFAT   ", "exFAT"), (54, "FAT12   ", "FAT"), (54, "FAT16   ", "FAT"),
      (82, "FAT32   ", "FAT"),
    ]
    return marks.first { bytes[$0.offset...].starts(with: $0.text.utf8) }?.name
  }

  /// Whether all partitions begin on whole mebibytes, as today's tools make them.
  func isAligned(in sectorSize: UInt64) -> Bool {
    entries.allSatisfy { !$0.isUsed || $0.firstSector % (1 << 20 / sectorSize) == 0 }
  }

  private var signatureOfDisk: UInt32 { bytes.integer(at: 440) }

  /// Reads the record as an MBR.
  func partitionTable(_ reader: SectorReader) throws(PartitionTableError) -> PartitionTable {
    let identifier = signatureOfDisk.hexadecimal.lowercased()
    var partitions: [Partition] = []
    for (index, entry) in entries.enumerated() where entry.isUsed {
      partitions.append(try reader.partition(index + 1, of: entry, base: 0, disk: identifier))
    }
    try partitions.checkOverlaps()
    for container in partitions.filter(\.isContainer) {
      let lastNumber = max(Self.entryCount, partitions.last?.number ?? 0)
      partitions += try Self.logicalPartitions(in: container, reader, after: lastNumber, disk: identifier)
    }
    return PartitionTable(
      kind: .mbr, sectorSize: reader.sectorSize, identifier: identifier, partitions: partitions)
  }

  private static func logicalPartitions(
    in container: Partition, _ reader: SectorReader, after lastNumber: Int, disk: String
  ) throws(PartitionTableError) -> [Partition] {
    let sectors = container.bytes.lowerBound / reader.sectorSize..<container.bytes.upperBound / reader.sectorSize
    var partitions: [Partition] = []
    var visited: Set<UInt64> = []
    var next: UInt64? = sectors.lowerBound
    func fault(_ fault: ChainFault) -> PartitionTableError { .damagedChain(container: container.number, fault) }

    while let place = next {
      guard sectors.contains(place) else { throw fault(.leaves(sector: place)) }
      guard visited.insert(place).inserted else { throw fault(.loop(sector: place)) }
      guard visited.count <= longestChain else { throw fault(.endless) }
      guard let sector = try reader.sector(place) else { throw fault(.leaves(sector: place)) }
      // An extended partition that nobody put anything into.
      if place == sectors.lowerBound, sector.allSatisfy({ $0 == 0 }) { return [] }
      guard let record = BootRecord(sector) else { throw fault(.unsigned(sector: place)) }
      // The other two entries have no meaning.
      let entries = record.entries.prefix(2).filter(\.isUsed)
      let links = entries.filter(\.isExtended)
      let logical = entries.filter { !$0.isExtended }
      guard links.count <= 1, logical.count <= 1 else { throw fault(.ambiguous(sector: place)) }
      if let entry = logical.first {
        let number = lastNumber + 1 + partitions.count
        let partition = try reader.partition(number, of: entry, base: place, disk: disk)
        guard container.bytes.contains(partition.bytes) else { throw fault(.outside(number)) }
        partitions.append(partition)
      }
      next = links.first.map { sectors.lowerBound + $0.firstSector }
    }
    try partitions.checkOverlaps()
    return partitions
  }
}

extension SectorReader {
  /// The partition that an entry describes, counted from sector `base` on, within the image.
  fileprivate func partition(
    _ number: Int, of entry: BootRecord.Entry, base: UInt64, disk: String
  ) throws(PartitionTableError) -> Partition {
    let bytes = bytes(from: base + entry.firstSector, count: entry.sectorCount)
    guard let bytes, bytes.upperBound <= size else {
      throw .outOfRange(number, end: bytes?.upperBound ?? .max, size: size)
    }
    return Partition(
      number: number, bytes: bytes, type: PartitionType(entry.type), name: "",
      uuid: "\(disk)-\(UInt8(truncatingIfNeeded: number).hexadecimal.lowercased())",
      isBootable: entry.status == 0x80, isContainer: entry.isExtended)
  }
}
