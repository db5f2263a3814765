// Master boot records made by hand, right ones and broken ones.

import SystemPackage
import TestSupport
import Testing

@testable import PartitionTables

@Suite struct BootRecordTests {
  @Test(arguments: [512, 4096] as [UInt64])
  func `primary and logical partitions`(sectorSize: UInt64) throws {
    let table = try HandmadeImage.withLogical(sectorSize: sectorSize).table(sectorSize: sectorSize)
    #expect(table.kind == .mbr && table.sectorSize == sectorSize && table.identifier == "1234abcd")
    #expect(table.notes == [])
    let expected: [(Int, UInt64, UInt64, String, String?)] = [
      (1, 1000, 1000, "0x83", "Linux"), (2, 2000, 1000, "0x07", "HPFS/NTFS/exFAT"), (3, 4000, 5000, "0x05", "Extended"),
      (5, 4100, 800, "0x83", "Linux"), (6, 5100, 800, "0x82", "Linux swap / Solaris"),
      (7, 6563, 900, "0x8e", "Linux LVM"),
    ]
    #expect(table.partitions.count == expected.count)
    for (partition, (number, first, count, type, name)) in zip(table.partitions, expected) {
      #expect(partition.number == number)
      #expect(partition.bytes == first * sectorSize..<(first + count) * sectorSize)
      #expect(partition.type.code == type && partition.type.name == name)
      #expect(partition.isBootable == (number == 1) && partition.isContainer == (number == 3))
      #expect(partition.uuid == "1234abcd-0\(number)" && partition.name == "")
    }
  }

  @Test func `sectors of 4096 bytes are found out where anything shows them`() throws {
    // By where the logical partitions are.
    #expect(try HandmadeImage.withLogical(sectorSize: 4096).table().sectorSize == 4096)
    #expect(try HandmadeImage.withLogical(sectorSize: 512).table().sectorSize == 512)
    var image = HandmadeImage(size: 80 << 20)
    // By partitions that begin on whole mebibytes.
    image.putRecord([(0x83, 256, 1024, 0), (0x83, 1280, 2048, 0)])
    #expect(try image.table().sectorSize == 4096)
    #expect(try image.table(sectorSize: 512).sectorSize == 512)
    // Both are whole mebibytes: what everybody else takes a file for.
    image.putRecord([(0x83, 2048, 1024, 0), (0x83, 4096, 2048, 0)])
    #expect(try image.table().sectorSize == 512)
    #expect(try image.table(sectorSize: 4096).sectorSize == 4096)
    // Neither is.
    image.putRecord([(0x83, 63, 1024, 0), (0x83, 4096, 2048, 0)])
    #expect(try image.table().sectorSize == 512)
    // The image is too small for the other.
    image.size = 10 << 20
    image.putRecord([(0x83, 256, 10000, 0), (0, 0, 0, 0)])
    #expect(try image.table().sectorSize == 512)
    #expect(image.fault(sectorSize: 4096) == .outOfRange(1, end: 10256 * 4096, size: 10 << 20))
  }

  @Test func `an empty table has no partitions`() throws {
    var image = HandmadeImage(size: 1 << 20)
    image.putRecord([])
    #expect(try image.table().partitions == [])
    #expect(throws: PartitionTableError.noPartition(1, existing: [])) { try image.table().partition(1) }
    // Neither half of an entry alone makes a partition.
    image.putRecord([(0x83, 100, 0, 0), (0, 1, 100_000, 0)])
    #expect(try image.table().partitions == [])
  }

  @Test func `images without a table`() throws {
    #expect(HandmadeImage(size: 0).fault() == .noTable)
    #expect(HandmadeImage(size: 511).fault() == .noTable)
    #expect(HandmadeImage(size: 1 << 20).fault() == .noTable)
    var image = HandmadeImage(size: 512)
    image.putRecord([])
    #expect(try image.table().partitions == [])
    // A boot sector has code where the marks for booting would be.
    image.putRecord([(0x83, 0, 1, 0x33)])
    #expect(image.fault() == .noTable)
  }

  @Test(arguments: [
    ("NTFS    ", 3, "NTFS"), ("EXFAT   ", 3, "exFAT"), ("FAT16   ", 54, "FAT"), ("FAT32   ", 82, "FAT"),
  ])
  func `a file system's boot sector is no table`(text: String, offset: UInt64, name: String) throws {
    var image = HandmadeImage(size: 1 << 20)
    image.putRecord([])
    image.put(text.utf8, at: offset)
    #expect(image.fault() == .fileSystem(name))
  }

  @Test func `partitions to the last byte, and beyond it`() throws {
    var image = HandmadeImage(size: 1000 * 512)
    image.putRecord([(0x83, 100, 900, 0)])
    #expect(try image.table().partition(1).bytes == 51200..<512_000)
    image.putRecord([(0x83, 100, 901, 0)])
    #expect(image.fault() == .outOfRange(1, end: 1001 * 512, size: 512_000))
    // Cut off in the middle of the last sector.
    image.putRecord([(0x83, 100, 900, 0)])
    image.size -= 1
    #expect(image.fault() == .outOfRange(1, end: 512_000, size: 511_999))
    image.putRecord([(0x83, .max, .max, 0)])
    let most = UInt64(UInt32.max)
    #expect(image.fault() == .outOfRange(1, end: 2 * most * 512, size: 511_999))
  }

  @Test func `partitions past 4 GiB and 2 TiB`() throws {
    var image = HandmadeImage(size: 4 << 40)
    image.putRecord([(0x83, 0x0080_0001, 1, 0), (0x83, .max, 0x100_0000, 0), (0x0F, 0x2000_0000, 0x1000_0000, 0)])
    image.putRecord([(0x83, 0x800_0000, 1, 0)], at: 0x2000_0000)
    let table = try image.table(sectorSize: 512)
    let starts: [UInt64] = [(4 << 30) + 512, (2 << 40) - 512, 256 << 30, 320 << 30]
    #expect(table.partitions.map(\.bytes.lowerBound) == starts)
    #expect(try table.partition(2).bytes.upperBound == starts[1] + (8 << 30))
  }

  @Test func `overlaps`() throws {
    var image = HandmadeImage(size: 1000 * 512)
    image.putRecord([(0x83, 500, 100, 0), (0x83, 100, 401, 0)])
    #expect(image.fault() == .overlap(1, 2))
    image.putRecord([(0x83, 100, 800, 0), (0x83, 200, 1, 0), (0x83, 300, 1, 0)])
    #expect(image.fault() == .overlap(1, 2))
    image.putRecord([(0x83, 100, 1, 0), (0x83, 100, 1, 0), (0, 0, 0, 0)])
    #expect(image.fault() == .overlap(1, 2))
    image.putRecord([(0x83, 500, 100, 0), (0x05, 100, 450, 0)])
    #expect(image.fault() == .overlap(1, 2))
    image.putRecord([(0x83, 500, 100, 0), (0x83, 100, 400, 0)])
    #expect(try image.table().partitions.count == 2)
    // Logical partitions.
    image = .withLogical()
    image.putRecord([(0x83, 100, 1500, 0), (0x05, 1000, 1000, 0)], at: 4000)
    #expect(image.fault() == .overlap(5, 6))
  }

  @Test func `an extended partition is no partition to choose`() throws {
    let table = try HandmadeImage.withLogical().table()
    #expect(throws: PartitionTableError.container(3, logical: [5, 6, 7])) { try table.partition(3) }
    #expect(throws: PartitionTableError.noPartition(4, existing: [1, 2, 5, 6, 7])) { try table.partition(4) }
    for number in [0, -1, 8, .max, .min] {
      #expect(throws: PartitionTableError.self) { try table.partition(number) }
    }
  }

  @Test func `chains that lead back`() throws {
    for target in [0, 1000, 2500] as [UInt32] {
      var image = HandmadeImage.withLogical()
      image.putRecord([(0x8E, 63, 900, 0), (0x05, target, 1000, 0)], at: 6500)
      #expect(image.fault() == .damagedChain(container: 3, .loop(sector: 4000 + UInt64(target))))
    }
  }

  @Test func `chains that lead out`() throws {
    for target in [5000, 6001, .max] as [UInt32] {
      var image = HandmadeImage.withLogical()
      image.putRecord([(0x8E, 63, 900, 0), (0x05, target, 1000, 0)], at: 6500)
      #expect(image.fault() == .damagedChain(container: 3, .leaves(sector: 4000 + UInt64(target))))
    }
  }

  @Test func `chains that lead to no boot record`() throws {
    var image = HandmadeImage.withLogical()
    image.putRecord([(0x8E, 63, 900, 0), (0x05, 4000, 1000, 0)], at: 6500)
    #expect(image.fault() == .damagedChain(container: 3, .unsigned(sector: 8000)))
    image = .withLogical()
    image[4000 * 512 + 511] = 0
    #expect(image.fault() == .damagedChain(container: 3, .unsigned(sector: 4000)))
  }

  @Test func `records that describe too much`() throws {
    var image = HandmadeImage.withLogical()
    image.putRecord([(0x8E, 63, 100, 0), (0x83, 300, 100, 0)], at: 6500)
    #expect(image.fault() == .damagedChain(container: 3, .ambiguous(sector: 6500)))
    image.putRecord([(0x05, 63, 100, 0), (0x05, 300, 100, 0)], at: 6500)
    #expect(image.fault() == .damagedChain(container: 3, .ambiguous(sector: 6500)))
    // What is in the third and fourth entry is nobody's business.
    image.putRecord([(0x8E, 63, 100, 0), (0, 0, 0, 0), (0x83, 1, 1, 0), (0x05, 0, 9, 0)], at: 6500)
    #expect(try image.table().partitions.last?.number == 7)
  }

  @Test func `links and partitions in either order, and records without a partition`() throws {
    var image = HandmadeImage.withLogical()
    image.putRecord([(0x05, 2500, 1000, 0), (0x82, 100, 800, 0)], at: 5000)
    image.putRecord([(0, 0, 0, 0), (0x05, 1000, 1000, 0)], at: 4000)
    #expect(try image.table().partitions.map(\.number) == [1, 2, 3, 5, 6])
    #expect(try image.table().partition(5).bytes.lowerBound == 5100 * 512)
  }

  @Test func `an extended partition with nothing in it`() throws {
    var image = HandmadeImage(size: 1000 * 512)
    image.putRecord([(0x85, 100, 100, 0)])
    #expect(try image.table().partitions.map(\.isContainer) == [true])
    #expect(throws: PartitionTableError.container(1, logical: [])) { try image.table().partition(1) }
    image.putRecord([], at: 100)
    #expect(try image.table().partitions.count == 1)
  }

  @Test func `logical partitions that reach out`() throws {
    var image = HandmadeImage.withLogical()
    image.putRecord([(0x8E, 63, 2438, 0)], at: 6500)
    #expect(image.fault() == .damagedChain(container: 3, .outside(7)))
    image.putRecord([(0x8E, 63, 2437, 0)], at: 6500)
    #expect(try image.table().partition(7).bytes.upperBound == 9000 * 512)
    image.putRecord([(0x8E, 63, .max, 0)], at: 6500)
    let end = (6563 + UInt64(UInt32.max)) * 512
    #expect(image.fault() == .outOfRange(7, end: end, size: 10_000 * 512))
  }

  @Test func `chains without an end`() throws {
    var image = HandmadeImage(size: 2000 * 512)
    image.putRecord([(0x05, 1000, 1000, 0)])
    for link in 0..<999 as Range<UInt64> {
      image.putRecord([(0, 0, 0, 0), (0x05, UInt32(link + 1), 1, 0)], at: 1000 + link)
    }
    #expect(image.fault() == .damagedChain(container: 1, .endless))
  }

  @Test func `many logical partitions`() throws {
    var image = HandmadeImage(size: 2000 * 512)
    image.putRecord([(0x0F, 1000, 1000, 0)])
    for link in 0..<100 as Range<UInt64> {
      let next: HandmadeImage.Entry = link == 99 ? (0, 0, 0, 0) : (0x05, UInt32(10 * link + 10), 10, 0)
      image.putRecord([(0x83, 1, 9, 0), next], at: 1000 + 10 * link)
    }
    let table = try image.table()
    #expect(table.partitions.count == 101)
    #expect(try table.partition(104).bytes == 1991 * 512..<2000 * 512)
  }

  @Test func `two extended partitions`() throws {
    var image = HandmadeImage.withLogical()
    image.putRecord([(0x05, 500, 100, 0), (0x07, 2000, 1000, 0)])
    image.putRecord([(0x83, 10, 20, 0)], at: 500)
    let table = try image.table()
    #expect(table.partitions.map(\.number) == [1, 2, 3, 5, 6, 7, 8])
    #expect(try table.partition(5).bytes.lowerBound == 510 * 512)
    #expect(try table.partition(6).bytes.lowerBound == 4100 * 512)
  }

  @Test func `sectors that cannot be read`() throws {
    var image = HandmadeImage.withLogical()
    image.broken = 5000 * 512 + 7..<5000 * 512 + 8
    #expect(image.fault() == .unreadable(at: 5000 * 512, .ioError))
    image.broken = 0..<1
    #expect(image.fault() == .unreadable(at: 0, .ioError))
  }

  @Test func `every message is one line`() throws {
    let errors: [PartitionTableError] = [
      .noTable, .fileSystem("FAT"), .unreadable(at: 7, .ioError), .outOfRange(1, end: .max, size: 3),
      .outOfRange(1, end: 4, size: 3), .inverted(2), .overlap(1, 2), .damagedChain(container: 1, .endless),
      .damagedGuidTable(primary: .missing, backup: .listChecksum), .noPartition(3, existing: []),
      .noPartition(3, existing: Array(1...50)), .container(1, logical: []), .container(1, logical: [5]),
    ]
    for error in errors {
      #expect(error.description.hasPrefix("has ") && !error.description.contains("\n"), "\(error)")
    }
  }
}
