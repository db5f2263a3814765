// Partition tables made by hand, byte by byte, so that each can be broken in one place; and random numbers that are the
// same in each run.

import CopyOnWrite
import SystemPackage
import Testing

@testable import BaseImage

/// SplitMix64.
struct TestRandom: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}

/// An image of any size, of which only some blocks of 512 bytes are other than zeros.
struct TableImage {
  var size: UInt64
  var blocks: [UInt64: [UInt8]] = [:]
  /// Bytes that cannot be read.
  var broken: Range<UInt64> = 0..<0

  init(size: UInt64) { self.size = size }

  subscript(offset: UInt64) -> UInt8 {
    get { blocks[offset / 512]?[Int(offset % 512)] ?? 0 }
    set { blocks[offset / 512, default: [UInt8](repeating: 0, count: 512)][Int(offset % 512)] = newValue }
  }

  mutating func put(_ bytes: some Sequence<UInt8>, at offset: UInt64) {
    for (place, byte) in bytes.enumerated() { self[offset + UInt64(place)] = byte }
  }

  mutating func put<Number: FixedWidthInteger>(_ number: Number, at offset: UInt64) {
    put((0..<Number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> Number(8 * $0)) }, at: offset)
  }

  func bytes(_ count: Int, at offset: UInt64) -> [UInt8] { (0..<UInt64(count)).map { self[offset + $0] } }

  func number<Number: FixedWidthInteger>(at offset: UInt64) -> Number {
    bytes(Number.bitWidth / 8, at: offset).integer(at: 0)
  }

  final class Reader: BaseReader {
    let image: TableImage
    var size: UInt64 { image.size }

    init(_ image: TableImage) { self.image = image }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
      precondition(
        offset <= size && UInt64(buffer.count) <= size - offset, "bytes beyond the image were asked for")
      if image.broken.overlaps(offset..<offset + UInt64(buffer.count)) { throw .ioError }
      var place = 0
      while place < buffer.count {
        let position = offset + UInt64(place)
        let count = min(512 - Int(position % 512), buffer.count - place)
        let target = UnsafeMutableRawBufferPointer(rebasing: buffer[place..<place + count])
        if let block = image.blocks[position / 512] {
          target.copyBytes(from: block[Int(position % 512)..<Int(position % 512) + count])
        } else {
          target.initializeMemory(as: UInt8.self, repeating: 0)
        }
        place += count
      }
    }

    func extent(at offset: UInt64) -> Extent { Extent(isData: true, end: size) }
  }

  func table(sectorSize: UInt64? = nil) throws(PartitionTableError) -> PartitionTable {
    try PartitionTable(of: Reader(self), sectorSize: sectorSize)
  }

  /// Why there is no table.
  func fault(sectorSize: UInt64? = nil, sourceLocation: SourceLocation = #_sourceLocation) -> PartitionTableError? {
    #expect(throws: PartitionTableError.self, sourceLocation: sourceLocation) { try table(sectorSize: sectorSize) }
  }
}

// MARK: MBR

extension TableImage {
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
  static func withLogical(sectorSize: UInt64 = 512, alignment: UInt32 = 1) -> TableImage {
    var image = TableImage(size: 10_000 * UInt64(alignment) * sectorSize)
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

extension TableImage {
  struct GuidEntry {
    var type: [UInt8] = TableImage.linux
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
  ) -> (image: TableImage, places: GuidPlaces) {
    var image = TableImage(size: sectors * sectorSize)
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
    put(CRC32.checksum(bytes(1024, at: list)), at: header + 88)
    signHeader(header)
  }

  /// Makes the checksum of a header right again.
  mutating func signHeader(_ header: UInt64) {
    put(0 as UInt32, at: header + 16)
    put(CRC32.checksum(bytes(92, at: header)), at: header + 16)
  }
}
