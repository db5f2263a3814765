// Partition tables: which kind an image has, and what all kinds have in common. BootRecord.swift and GuidTable.swift know
// the formats. They are read here and not by a library: libblkid and libfdisk want a device or a file that they open by
// themselves, take tables as they are without saying what is wrong with them, and would be one more library that looks at
// hostile bytes, while all that is wanted of a table is where its partitions are.
//
// Images come from anywhere, so every number here is hostile until it is checked: a table is either an error in words, or
// a list of partitions that lie within the image and do not overlap.
//
// Neither kind of table says plainly how large its sectors are. A GPT shows it by where its header is. An MBR does not;
// what speaks for 4096 is an MBR that makes no sense with sectors of 512 bytes, logical partitions that are found only
// with 4096, or partitions that begin on whole mebibytes only when counted in sectors of 4096. Otherwise it is 512, as for
// every program that looks at a file.

public import CopyOnWrite

/// A partition of an image.
public struct Partition: Equatable, Sendable {
  /// As Linux numbers them: 1 to 4 and logical ones from 5 on in an MBR, the place in the table in a GPT.
  public let number: Int
  /// Where in the image it is.
  public let bytes: Range<UInt64>
  /// What it is said to hold.
  public let type: PartitionType
  /// Its name in the table. An MBR has none.
  public let name: String
  /// What identifies it, as `PARTUUID` does in /etc/fstab.
  public let uuid: String
  /// Whether it is marked as the one to boot from: active in an MBR, "legacy BIOS bootable" in a GPT.
  public let isBootable: Bool
  /// Whether it is the extended partition of an MBR, which only holds others.
  public let isContainer: Bool
}

/// What an image's partition table says.
public struct PartitionTable: Equatable, Sendable {
  /// The format.
  public enum Kind: String, Sendable {
    /// Master boot record, "dos" for sfdisk.
    case mbr
    /// GUID partition table.
    case gpt
  }

  /// The format.
  public let kind: Kind
  /// Bytes of a sector, in which the table counts.
  public let sectorSize: UInt64
  /// What identifies the disk: the GUID of a GPT, the signature of an MBR as eight hexadecimal digits.
  public let identifier: String
  /// In the order of their numbers.
  public let partitions: [Partition]
  /// What the user should know of the table, though it can be used: sentences without a full stop.
  public internal(set) var notes: [String] = []

  /// Sector sizes that tables are looked for with.
  public static let sectorSizes: [UInt64] = [512, 4096]

  /// Finds and reads the partition table of `image`.
  ///
  /// - Parameters:
  ///   - image: what is looked at. Only read.
  ///   - sectorSize: one of ``sectorSizes``, where that is known.
  /// - Throws: where there is none, it is damaged, or it does not fit the image.
  public init(of image: any BaseReader, sectorSize: UInt64? = nil) throws(PartitionTableError) {
    let readers = (sectorSize.map { [$0] } ?? Self.sectorSizes).map { SectorReader(of: image, sectorSize: $0) }
    // The boot record is in the first 512 bytes of a sector of any size.
    guard let first = try SectorReader(of: image, sectorSize: 512).sector(0) else { throw .noTable }
    func hasGuidTable() -> Bool { readers.contains { (try? GuidTable($0, at: GuidTable.primarySector)) != nil } }
    guard let record = BootRecord(first) else {
      guard hasGuidTable() else { throw .noTable }
      self = try Self.guidTable(readers)
      notes.append("there is no protective MBR before the GPT, so other programs may not find it")
      return
    }
    if record.isProtective {
      self = try Self.guidTable(readers)
      if record.isHybrid { notes.append("the MBR lists partitions of its own (a hybrid MBR); the GPT is used") }
    } else {
      if let fileSystem = record.fileSystem { throw .fileSystem(fileSystem) }
      guard record.isTable else { throw .noTable }
      self = try Self.bootRecordTable(record, readers)
      if hasGuidTable() { notes.append("there is a GPT too, but the MBR does not announce it, so the MBR is used") }
    }
  }

  init(kind: Kind, sectorSize: UInt64, identifier: String, partitions: [Partition], notes: [String] = []) {
    self.kind = kind
    self.sectorSize = sectorSize
    self.identifier = identifier
    self.partitions = partitions
    self.notes = notes
  }

  /// The GPT that is intact; where several are, the first sector size wins, and any primary over a backup.
  private static func guidTable(_ readers: [SectorReader]) throws(PartitionTableError) -> PartitionTable {
    var faults: [(primary: GuidTableFault, backup: GuidTableFault)] = []
    for reader in readers {
      let table: GuidTable
      do { table = try GuidTable(reader, at: GuidTable.primarySector) } catch {
        faults.append((error, .missing))
        continue
      }
      return try table.partitionTable(reader)
    }
    for (index, reader) in readers.enumerated() {
      let table: GuidTable
      do { table = try GuidTable.backup(reader) } catch {
        faults[index].backup = error
        continue
      }
      return try table.partitionTable(reader, insteadOf: faults[index].primary)
    }
    // The most telling: where there is anything at all.
    let fault = faults.first { $0.primary != .missing } ?? faults.first { $0.backup != .missing } ?? faults[0]
    throw .damagedGuidTable(primary: fault.primary, backup: fault.backup)
  }

  /// The MBR, counted in the sectors that make most sense of it.
  private static func bootRecordTable(
    _ record: BootRecord, _ readers: [SectorReader]
  ) throws(PartitionTableError) -> PartitionTable {
    let tables = readers.map { reader in
      Result { () throws(PartitionTableError) in try record.partitionTable(reader) }
    }
    guard tables.count > 1, case .success(let other) = tables[1], !other.partitions.isEmpty else {
      return try tables[0].get()
    }
    guard case .success(let table) = tables[0] else { return other }
    // Logical partitions are found only where their boot records are.
    if table.partitions.count != other.partitions.count {
      return table.partitions.count > other.partitions.count ? table : other
    }
    let speaksForOther = !record.isAligned(in: readers[0].sectorSize) && record.isAligned(in: readers[1].sectorSize)
    return speaksForOther ? other : table
  }

  /// The partition with this number.
  ///
  /// - Throws: where there is none, or it is one that only holds others.
  public func partition(_ number: Int) throws(PartitionTableError) -> Partition {
    guard let partition = partitions.first(where: { $0.number == number }) else {
      throw .noPartition(number, existing: partitions.filter { !$0.isContainer }.map(\.number))
    }
    guard !partition.isContainer else {
      throw .container(number, logical: partitions.map(\.number).filter { $0 > BootRecord.entryCount })
    }
    return partition
  }
}

extension [Partition] {
  /// Checks that none covers a byte of another.
  func checkOverlaps() throws(PartitionTableError) {
    let sorted = sorted { $0.bytes.lowerBound < $1.bytes.lowerBound }
    // Looking at neighbours is enough: where any two overlap, two neighbours do.
    for (former, latter) in zip(sorted, sorted.dropFirst()) where latter.bytes.lowerBound < former.bytes.upperBound {
      throw .overlap(Swift.min(former.number, latter.number), Swift.max(former.number, latter.number))
    }
  }
}
