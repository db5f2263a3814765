// GUID partition tables (UEFI specification, chapter 5): a header in the second sector that points to a list of
// partitions, both with checksums, and a backup of both at the end of the disk.

internal import CZlib
internal import CopyOnWrite
internal import Images
internal import SystemPackage

/// One of the two copies of a GPT, with its checksums right.
struct GuidTable {
  /// Where the primary header is.
  static let primarySector: UInt64 = 1

  private static let signature = Array("EFI PART".utf8)
  /// Bytes of a header that mean something.
  private static let headerSize = 92
  /// Sizes of an entry; the specification wants powers of two.
  private static let entrySizes: ClosedRange<UInt32> = 128...4096
  /// Most bytes that are taken for a list of partitions: 256 times as many as tools make.
  private static let largestList: UInt64 = 4 << 20

  /// Where the other copy is.
  private let otherSector: UInt64
  private let identifier: GUID
  private let entrySize: Int
  private let list: [UInt8]

  /// Reads the copy whose header is at `sector`.
  init(_ reader: SectorReader, at sector: UInt64) throws(GuidTableFault) {
    let header = try Self.header(reader, at: sector)
    let size: UInt32 = header.integer(at: 12)
    guard size >= Self.headerSize, size <= header.count else { throw .headerSize(size) }
    // The checksum counts as zeros in itself.
    let summed = header[..<16] + [0, 0, 0, 0] + header[20..<Int(size)]
    guard Self.checksum(of: Array(summed)) == header.integer(at: 16) else { throw .headerChecksum }
    let ownSector: UInt64 = header.integer(at: 24)
    guard ownSector == sector else { throw .misplaced(sector: ownSector) }
    otherSector = header.integer(at: 32)
    identifier = GUID(header[56..<72])

    let count: UInt32 = header.integer(at: 80)
    let entrySize: UInt32 = header.integer(at: 84)
    guard count > 0, Self.entrySizes.contains(entrySize), entrySize.nonzeroBitCount == 1,
      UInt64(count) * UInt64(entrySize) <= Self.largestList
    else { throw .absurdList(count: count, size: entrySize) }
    self.entrySize = Int(entrySize)
    list = try Self.list(
      reader, at: header.integer(at: 72), count: Int(count) * Int(entrySize), checksum: header.integer(at: 88))
  }

  /// The sector with a header in it, by its signature.
  private static func header(_ reader: SectorReader, at sector: UInt64) throws(GuidTableFault) -> [UInt8] {
    guard sector < reader.sectorCount else { throw .missing }
    let bytes: [UInt8]
    do { bytes = try reader.read(Int(reader.sectorSize), at: sector * reader.sectorSize) } catch {
      throw .unreadable(error)
    }
    guard bytes.starts(with: signature) else { throw .missing }
    return bytes
  }

  /// The checksum of GPTs: CRC-32 as in Ethernet and zip.
  static func checksum(of bytes: [UInt8]) -> UInt32 { UInt32(crc32(0, bytes, UInt32(bytes.count))) }

  private static func list(
    _ reader: SectorReader, at sector: UInt64, count: Int, checksum: UInt32
  ) throws(GuidTableFault) -> [UInt8] {
    guard let start = reader.bytes(from: sector, count: 0)?.lowerBound, start <= reader.size,
      UInt64(count) <= reader.size - start
    else { throw .listOutOfRange }
    let bytes: [UInt8]
    do { bytes = try reader.read(count, at: start) } catch { throw .unreadableList(error) }
    guard Self.checksum(of: bytes) == checksum else { throw .listChecksum }
    return bytes
  }

  /// The copy at the end of the image or, where the image is larger than the disk was, where the damaged primary says.
  static func backup(_ reader: SectorReader) throws(GuidTableFault) -> GuidTable {
    guard reader.sectorCount > 0 else { throw .missing }
    do {
      return try GuidTable(reader, at: reader.sectorCount - 1)
    } catch {
      if let primary = try? header(reader, at: primarySector),
        let table = try? GuidTable(reader, at: primary.integer(at: 32))
      {
        return table
      }
      throw error
    }
  }

  /// The partitions of this copy.
  ///
  /// - Parameter fault: what is wrong with the primary, where this is the backup.
  func partitionTable(
    _ reader: SectorReader, insteadOf fault: GuidTableFault? = nil
  ) throws(PartitionTableError) -> PartitionTable {
    var partitions: [Partition] = []
    for index in 0..<list.count / entrySize {
      let entry = list[index * entrySize..<(index + 1) * entrySize]
      if let partition = try Self.partition(index + 1, entry, reader) { partitions.append(partition) }
    }
    try partitions.checkOverlaps()
    return PartitionTable(
      kind: .gpt, sectorSize: reader.sectorSize, identifier: identifier.text, partitions: partitions,
      notes: notes(reader, insteadOf: fault))
  }

  private func notes(_ reader: SectorReader, insteadOf fault: GuidTableFault?) -> [String] {
    if let fault { return ["the primary GPT \(fault); its backup is used"] }
    do {
      _ = try GuidTable(reader, at: otherSector)
      return []
    } catch {
      return ["the backup GPT \(error); the image may be cut off"]
    }
  }

  /// The partition that an entry describes; nil where it describes none.
  private static func partition(
    _ number: Int, _ entry: ArraySlice<UInt8>, _ reader: SectorReader
  ) throws(PartitionTableError) -> Partition? {
    let start = entry.startIndex
    let type = GUID(entry[start..<start + 16])
    guard !type.isZero else { return nil }
    let first: UInt64 = entry.integer(at: 32)
    let last: UInt64 = entry.integer(at: 40)
    guard first <= last else { throw .inverted(number) }
    let (count, overflow) = (last - first).addingReportingOverflow(1)
    let bytes = overflow ? nil : reader.bytes(from: first, count: count)
    guard let bytes, bytes.upperBound <= reader.size else {
      throw .outOfRange(number, end: bytes?.upperBound ?? .max, size: reader.size)
    }
    let legacyBootable: UInt64 = 1 << 2
    return Partition(
      number: number, bytes: bytes, type: PartitionType(type), name: name(entry[(start + 56)..<start + 128]),
      uuid: GUID(entry[start + 16..<start + 32]).text.lowercased(),
      isBootable: entry.integer(at: 48, as: UInt64.self) & legacyBootable != 0, isContainer: false)
  }

  /// UTF-16 up to the first NUL; what is none is replaced.
  private static func name(_ bytes: ArraySlice<UInt8>) -> String {
    let units = stride(from: 0, to: bytes.count, by: 2).map { bytes.integer(at: $0, as: UInt16.self) }
    return String(decoding: units.prefix { $0 != 0 }, as: UTF16.self)
  }
}
