// GUID partition tables made by hand, right ones and broken ones.

import SystemPackage
import TestSupport
import Testing

@testable import PartitionTables

@Suite struct GuidTableTests {
  private static let three: [HandmadeImage.GuidEntry?] = [
    .init(first: 100, last: 199, name: "root"), nil,
    .init(first: 300, last: 300, name: "Größe 🐄", attributes: 1 << 2), .init(first: 200, last: 299),
  ]

  @Test func `checksum`() {
    // The check value of CRC-32/ISO-HDLC.
    #expect(GuidTable.checksum(of: Array("123456789".utf8)) == 0xCBF4_3926)
    #expect(GuidTable.checksum(of: []) == 0)
  }

  @Test(arguments: [512, 4096] as [UInt64])
  func `partitions`(sectorSize: UInt64) throws {
    let table = try HandmadeImage.guidTable(Self.three, sectorSize: sectorSize).image.table()
    #expect(table.kind == .gpt && table.sectorSize == sectorSize && table.notes == [])
    #expect(table.identifier == "A3A2A1A0-A5A4-A7A6-A8A9-AAABACADAEAF")
    #expect(table.partitions.map(\.number) == [1, 3, 4])
    let third = try table.partition(3)
    #expect(third.bytes == 300 * sectorSize..<301 * sectorSize)
    #expect(third.name == "Größe 🐄" && third.isBootable && !third.isContainer)
    #expect(third.uuid == "23222120-2524-2726-2829-2a2b2c2d2e2f")
    #expect(third.type.code == "0FC63DAF-8483-4772-8E79-3D69D8477DE4" && third.type.name == "Linux filesystem")
    #expect(try table.partition(1).name == "root")
    #expect(throws: PartitionTableError.noPartition(2, existing: [1, 3, 4])) { try table.partition(2) }
  }

  @Test func `a name fills its place, and half a character does no harm`() throws {
    let name = String(repeating: "n", count: 36)
    var (image, places) = HandmadeImage.guidTable([.init(first: 100, last: 199, name: name)])
    #expect(try image.table().partition(1).name == name)
    image.put(0xD800 as UInt16, at: places.primaryList + 56)
    image.sign(header: places.primary, list: places.primaryList)
    #expect(try image.table().partition(1).name == "\u{FFFD}" + name.dropFirst())
  }

  private typealias Damage = @Sendable (inout HandmadeImage, _ header: UInt64, _ list: UInt64) -> Void

  /// Ways to break one copy, and what is said of it.
  private static let damages: [(GuidTableFault, Damage)] = [
    (.missing, { image, header, _ in image[header] = 0 }),
    (.headerChecksum, { image, header, _ in image[header + 40] ^= 1 }),
    (.headerChecksum, { image, header, _ in image[header + 17] ^= 0x80 }),
    (.listChecksum, { image, _, list in image[list + 1023] ^= 1 }),
    (.listChecksum, { image, _, list in image[list + 33] ^= 1 }),
    (.headerSize(91), { image, header, _ in image.put(91 as UInt32, at: header + 12) }),
    (.headerSize(0), { image, header, _ in image.put(0 as UInt32, at: header + 12) }),
    (.headerSize(.max), { image, header, _ in image.put(UInt32.max, at: header + 12) }),
    (.misplaced(sector: 77), { image, header, _ in change(&image, header, 24, to: 77 as UInt64) }),
    (.absurdList(count: 0, size: 128), { image, header, _ in change(&image, header, 80, to: 0 as UInt32) }),
    (.absurdList(count: .max, size: 128), { image, header, _ in change(&image, header, 80, to: UInt32.max) }),
    (.absurdList(count: 32769, size: 128), { image, header, _ in change(&image, header, 80, to: 32769 as UInt32) }),
    (.absurdList(count: 8, size: 0), { image, header, _ in change(&image, header, 84, to: 0 as UInt32) }),
    (.absurdList(count: 8, size: 64), { image, header, _ in change(&image, header, 84, to: 64 as UInt32) }),
    (.absurdList(count: 8, size: 129), { image, header, _ in change(&image, header, 84, to: 129 as UInt32) }),
    (.absurdList(count: 8, size: 8192), { image, header, _ in change(&image, header, 84, to: 8192 as UInt32) }),
    (.absurdList(count: 8, size: .max), { image, header, _ in change(&image, header, 84, to: UInt32.max) }),
    (.listOutOfRange, { image, header, _ in change(&image, header, 72, to: UInt64.max) }),
    (.listOutOfRange, { image, header, _ in change(&image, header, 72, to: 1 << 54 as UInt64) }),
    (.listOutOfRange, { image, header, _ in change(&image, header, 72, to: 1999 as UInt64) }),
    (.listOutOfRange, { image, header, _ in change(&image, header, 80, to: 32768 as UInt32) }),
  ]

  /// Changes a field and makes the header's checksum right.
  private static func change(
    _ image: inout HandmadeImage, _ header: UInt64, _ field: UInt64, to value: some FixedWidthInteger
  ) {
    image.put(value, at: header + field)
    image.signHeader(header)
  }

  @Test(arguments: damages.indices)
  func `a damaged primary is replaced by the backup, and the other way round`(index: Int) throws {
    let (fault, damage) = Self.damages[index]
    var (image, places) = HandmadeImage.guidTable(Self.three)
    let expected = try image.table().partitions
    damage(&image, places.primary, places.primaryList)
    let table = try image.table()
    #expect(table.partitions == expected)
    #expect(table.notes == ["the primary GPT \(fault); its backup is used"])

    let intact = image
    (image, places) = HandmadeImage.guidTable(Self.three)
    damage(&image, places.backup, places.backupList)
    #expect(try image.table().partitions == expected)
    #expect(try image.table().notes == ["the backup GPT \(fault); the image may be cut off"])

    image = intact
    damage(&image, places.backup, places.backupList)
    #expect(image.fault() == .damagedGuidTable(primary: fault, backup: fault))
  }

  @Test func `sectors of 4096 bytes have a backup too`() throws {
    var (image, places) = HandmadeImage.guidTable(Self.three, sectorSize: 4096)
    image[places.primaryList] ^= 1
    #expect(try image.table().sectorSize == 4096)
    #expect(try image.table().notes == ["the primary GPT \(GuidTableFault.listChecksum); its backup is used"])
    image[places.backup + 20] ^= 1
    #expect(image.fault() == .damagedGuidTable(primary: .listChecksum, backup: .headerChecksum))
  }

  @Test func `an image that is larger than the disk was`() throws {
    var (image, places) = HandmadeImage.guidTable(Self.three)
    image.size += 100_001
    #expect(try image.table().notes == [])
    // The damaged primary still tells where its backup was.
    image[places.primaryList] ^= 1
    #expect(try image.table().partitions.count == 3)
    // Something else at the end must not hide it.
    let last = (image.size / 512 - 1) * 512
    image.put("EFI PART".utf8, at: last)
    #expect(try image.table().partitions.count == 3)
    image[places.primary] = 0
    #expect(image.fault() == .damagedGuidTable(primary: .missing, backup: .headerSize(0)))
  }

  @Test func `an image whose end is missing`() throws {
    var (image, places) = HandmadeImage.guidTable(Self.three)
    image.size = 301 * 512
    #expect(try image.table().partitions.count == 3)
    #expect(try image.table().notes == ["the backup GPT is missing; the image may be cut off"])
    image.size -= 1
    #expect(image.fault() == .outOfRange(3, end: image.size + 1, size: image.size))
    image[places.primary] = 0
    #expect(image.fault() == .damagedGuidTable(primary: .missing, backup: .missing))
    image.size = 512
    #expect(image.fault() == .damagedGuidTable(primary: .missing, backup: .missing))
    image.size = 513
    #expect(image.fault() == .damagedGuidTable(primary: .missing, backup: .missing))
  }

  @Test func `sectors that cannot be read`() throws {
    var (image, places) = HandmadeImage.guidTable(Self.three)
    image.broken = places.primary..<places.primary + 1
    #expect(try image.table().partitions.count == 3)
    #expect(try image.table().notes[0].contains("cannot be read"))
    image.broken = places.primaryList + 600..<places.primaryList + 601
    #expect(try image.table().notes[0].contains("list of partitions that cannot be read"))
    image.broken = places.backup..<places.backup + 1
    #expect(try image.table().notes[0].contains("the backup GPT cannot be read"))
    image.broken = 512..<image.size
    #expect(image.fault() == .damagedGuidTable(primary: .unreadable(.ioError), backup: .unreadable(.ioError)))
  }

  private func fault(of entries: [HandmadeImage.GuidEntry?]) -> PartitionTableError? {
    HandmadeImage.guidTable(entries).image.fault()
  }

  @Test func `partitions that cannot be`() throws {
    let size: UInt64 = 2000 * 512
    #expect(fault(of: [.init(first: 100, last: 99)]) == .inverted(1))
    #expect(fault(of: [.init(first: .max, last: 0)]) == .inverted(1))
    #expect(fault(of: [nil, .init(first: 100, last: 2000)]) == .outOfRange(2, end: 2001 * 512, size: size))
    #expect(fault(of: [.init(first: 0, last: .max)]) == .outOfRange(1, end: .max, size: size))
    #expect(fault(of: [.init(first: 1, last: .max)]) == .outOfRange(1, end: .max, size: size))
    #expect(fault(of: [.init(first: .max, last: .max)]) == .outOfRange(1, end: .max, size: size))
    #expect(fault(of: [.init(first: 1 << 55, last: 1 << 55)]) == .outOfRange(1, end: .max, size: size))
    #expect(fault(of: [.init(first: 100, last: 200), .init(first: 200, last: 300)]) == .overlap(1, 2))
    #expect(fault(of: [.init(first: 500, last: 500), .init(first: 100, last: 900)]) == .overlap(1, 2))
    #expect(
      try HandmadeImage.guidTable([.init(first: 100, last: 1999)]).image.table().partition(1).bytes.upperBound == size)
  }

  @Test func `partitions past 4 GiB, 2 TiB and 1 EiB`() throws {
    let sectors: UInt64 = 1 << 53
    let ranges: [ClosedRange<UInt64>] = [0x80_0001...1 << 32, 1 << 33...1 << 52, 1 << 52 + 1...1 << 52 + 1]
    let entries = ranges.map { HandmadeImage.GuidEntry(first: $0.lowerBound, last: $0.upperBound) }
    let table = try HandmadeImage.guidTable(entries, sectors: sectors).image.table()
    #expect(table.partitions.map(\.bytes) == ranges.map { $0.lowerBound * 512..<($0.upperBound + 1) * 512 })
  }

  @Test func `protective, hybrid, plain and missing boot records`() throws {
    var (image, _) = HandmadeImage.guidTable(Self.three)
    let expected = try image.table().partitions
    image.putRecord([(0x0C, 100, 100, 0x80), (0xEE, 1, 99, 0)])
    #expect(try image.table().partitions == expected)
    #expect(try image.table().notes.count == 1)
    #expect(try image.table().notes[0].contains("hybrid"))
    // Somebody put an MBR over a GPT.
    image.putRecord([(0x0C, 100, 100, 0x80), (0x83, 300, 99, 0)])
    #expect(try image.table().kind == .mbr)
    #expect(try image.table().notes[0].contains("does not announce"))
    image[510] = 0
    #expect(try image.table().partitions == expected)
    #expect(try image.table().notes == ["there is no protective MBR before the GPT, so other programs may not find it"])
    image[512] = 0
    #expect(image.fault() == .noTable)
  }

  @Test func `a sector size that is not the table's finds nothing`() throws {
    let small = HandmadeImage.guidTable(Self.three).image
    #expect(small.fault(sectorSize: 4096) == .damagedGuidTable(primary: .missing, backup: .missing))
    let large = HandmadeImage.guidTable(Self.three, sectorSize: 4096).image
    #expect(large.fault(sectorSize: 512) == .damagedGuidTable(primary: .missing, backup: .missing))
    #expect(try large.table(sectorSize: 4096).partitions.count == 3)
  }
}
