// Partition tables made by hand, byte by byte, so that each can be broken in one place.

import CopyOnWrite
import SystemPackage
import TestSupport
import Testing

@testable import PartitionTables

extension HandmadeImage {
  func table(sectorSize: UInt64? = nil) throws(PartitionTableError) -> PartitionTable {
    try PartitionTable(of: reader, sectorSize: sectorSize)
  }

  /// Why there is no table.
  func fault(sectorSize: UInt64? = nil, sourceLocation: SourceLocation = #_sourceLocation) -> PartitionTableError? {
    #expect(throws: PartitionTableError.self, sourceLocation: sourceLocation) { try table(sectorSize: sectorSize) }
  }
}

// MARK: MBR

extension HandmadeImage {
  /// An entry of a boot record: type, first sector, number of sectors, status.
  typealias Entry = (type: UInt8, first: UInt32, count: UInt32, status: UInt8)

  /// Writes a boot record into a sector.
  mutating func putRecord(_ entries: [Entry], at sector: UInt64 = 0, sectorSize: UInt64 = 512) {
    let start = sector * sectorSize
    put([0x55, 0xAA], at: start + 510)
    for (index, entry) in entries.enumerated() {
      let place = start + 446 + 16 * UInt64(index)
      self[place] = entry.status
      self[place + 4] = entry.type
      put(entry.first, at: place + 8)
      put(entry.count, at: place + 12)
    }
    if sector == 0 { put(0x1234_ABCD as UInt32, at: 440) }
  }

  /// Two primary partitions, and three logical ones in the third, of 1000 sectors each.
  static func withLogical(sectorSize: UInt64 = 512, alignment: UInt32 = 1) -> HandmadeImage {
    var image = HandmadeImage(size: 10_000 * UInt64(alignment) * sectorSize)
    let unit = alignment
    image.putRecord([
      (0x83, 1000 * unit, 1000, 0x80), (0x07, 2000 * unit, 1000, 0), (0x05, 4000 * unit, 5000 * unit, 0),
    ])
    let records: [(UInt64, [Entry])] = [
      (4000, [(0x83, 100, 800, 0), (0x05, 1000 * unit, 1000, 0)]),
      (5000, [(0x82, 100, 800, 0), (0x05, 2500 * unit, 1000, 0)]),
      (6500, [(0x8E, 63, 900, 0)]),
    ]
    for (sector, entries) in records {
      image.putRecord(entries, at: sector * UInt64(unit), sectorSize: sectorSize)
    }
    return image
  }
}

// MARK: GPT

extension HandmadeImage {
  struct GuidEntry {
    var type: [UInt8] = HandmadeImage.linux
    var first: UInt64
    var last: UInt64
    var name = ""
    var attributes: UInt64 = 0
  }

  /// 0FC63DAF-8483-4772-8E79-3D69D8477DE4
  static let linux: [UInt8] = [
    0xAF, 0x3D, 0xC6, 0x0F, 0x83, 0x84, 0x72, 0x47, 0x8E, 0x79, 0x3D, 0x69, 0xD8, 0x47, 0x7D, 0xE4,
  ]

  /// Where the parts of a hand-made GPT are: the header and the list of each copy.
  struct GuidPlaces {
    let sectorSize: UInt64
    let lastSector: UInt64
    var listSectors: UInt64 { max(1, 1024 / sectorSize) }
    var primary: UInt64 { sectorSize }
    var primaryList: UInt64 { 2 * sectorSize }
    var backup: UInt64 { lastSector * sectorSize }
    var backupList: UInt64 { (lastSector - listSectors) * sectorSize }
  }

  /// A GPT with eight entries and a protective MBR.
  static func guidTable(
    _ entries: [GuidEntry?], sectors: UInt64 = 2000, sectorSize: UInt64 = 512
  ) -> (image: HandmadeImage, places: GuidPlaces) {
    var image = HandmadeImage(size: sectors * sectorSize)
    let places = GuidPlaces(sectorSize: sectorSize, lastSector: sectors - 1)
    image.putRecord([(0xEE, 1, UInt32(truncatingIfNeeded: min(sectors - 1, UInt64(UInt32.max))), 0)])
    for (index, entry) in entries.enumerated() {
      guard let entry else { continue }
      for list in [places.primaryList, places.backupList] {
        let place = list + 128 * UInt64(index)
        image.put(entry.type, at: place)
        image.put((0..<16).map { UInt8($0 + 16 * index) }, at: place + 16)
        image.put(entry.first, at: place + 32)
        image.put(entry.last, at: place + 40)
        image.put(entry.attributes, at: place + 48)
        for (place, unit) in zip(stride(from: place + 56, to: place + 128, by: 2), entry.name.utf16) {
          image.put(unit, at: place)
        }
      }
    }
    image.putHeader(at: places.primary, other: places.backup, list: places.primaryList, places)
    image.putHeader(at: places.backup, other: places.primary, list: places.backupList, places)
    return (image, places)
  }

  private mutating func putHeader(at offset: UInt64, other: UInt64, list: UInt64, _ places: GuidPlaces) {
    put("EFI PART".utf8, at: offset)
    put(0x10000 as UInt32, at: offset + 8)
    put(92 as UInt32, at: offset + 12)
    put(offset / places.sectorSize, at: offset + 24)
    put(other / places.sectorSize, at: offset + 32)
    put(2 + places.listSectors, at: offset + 40)
    put(places.lastSector - places.listSectors - 1, at: offset + 48)
    put((0..<16).map { UInt8(0xA0 + $0) }, at: offset + 56)
    put(list / places.sectorSize, at: offset + 72)
    put(8 as UInt32, at: offset + 80)
    put(128 as UInt32, at: offset + 84)
    sign(header: offset, list: list)
  }

  /// Makes the checksums right again.
  mutating func sign(header: UInt64, list: UInt64) {
    put(GuidTable.checksum(of: bytes(1024, at: list)), at: header + 88)
    signHeader(header)
  }

  /// Makes the checksum of a header right again.
  mutating func signHeader(_ header: UInt64) {
    put(0 as UInt32, at: header + 16)
    put(GuidTable.checksum(of: bytes(92, at: header)), at: header + 16)
  }
}
