// Thousands of damaged tables, the same in each run: whatever the bytes are, the answer is an error, or partitions that lie
// within the image, in whole sectors, and do not overlap. A trap or a read beyond the image ends the test.

import TestSupport
import Testing

@testable import PartitionTables

@Suite struct MutatedTableTests {
  private static let images: [(name: String, image: HandmadeImage, headers: [(UInt64, UInt64)])] = {
    func guid(_ sectorSize: UInt64) -> (HandmadeImage, [(UInt64, UInt64)]) {
      let entries: [HandmadeImage.GuidEntry?] = [
        .init(first: 100, last: 199, name: "one"), .init(first: 200, last: 299), nil, .init(first: 1000, last: 1899),
      ]
      let (image, places) = HandmadeImage.guidTable(entries, sectorSize: sectorSize)
      return (image, [(places.primary, places.primaryList), (places.backup, places.backupList)])
    }
    var (hybrid, headers) = guid(512)
    hybrid.putRecord([(0x0C, 100, 100, 0x80), (0xEE, 1, 99, 0)])
    return [
      ("MBR", .withLogical(), []), ("MBR, 4096", .withLogical(sectorSize: 4096), []),
      ("GPT", guid(512).0, guid(512).1), ("GPT, 4096", guid(4096).0, guid(4096).1), ("hybrid", hybrid, headers),
    ]
  }()

  private func check(_ table: PartitionTable, _ image: HandmadeImage) -> String? {
    var ends: [UInt64] = []
    for partition in table.partitions {
      let bytes = partition.bytes
      if bytes.isEmpty || bytes.upperBound > image.size { return "\(partition) is not in the image" }
      if bytes.lowerBound % table.sectorSize != 0 || bytes.upperBound % table.sectorSize != 0 {
        return "\(partition) is not in whole sectors"
      }
      ends.append(bytes.upperBound)
    }
    let data = table.partitions.filter { !$0.isContainer }.sorted { $0.bytes.lowerBound < $1.bytes.lowerBound }
    for (former, latter) in zip(data, data.dropFirst()) where former.bytes.overlaps(latter.bytes) {
      return "\(former) and \(latter) overlap"
    }
    if Set(table.partitions.map(\.number)).count != table.partitions.count { return "a number comes twice" }
    return nil
  }

  /// Numbers that mistakes in arithmetic are made with.
  private static let edges: [UInt64] = [
    0, 1, 2, 0x7F, 0x80, 0xFF, 0x05, 0xEE, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32, 1 << 54, 1 << 55,
    1 << 63 - 1, 1 << 63, .max - 1, .max,
  ]

  /// Places in a table where something is written.
  private func mutate(_ image: inout HandmadeImage, using random: inout SeededGenerator) {
    let blocks = image.blocks.keys.sorted()
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      guard let block = blocks.randomElement(using: &random) else { return }
      // Where tables have their fields: the boot record's end, a header's start, an entry's start.
      let entry = Int.random(in: 0..<4, using: &random) * 128
      let fields = [440..<512, 0..<92, entry..<entry + 56].randomElement(using: &random) ?? 0..<512
      let place = block * 512 + UInt64(Int.random(in: fields, using: &random))
      let edge = Self.edges.randomElement(using: &random) ?? 0
      switch Int.random(in: 0..<4, using: &random) {
      case 0: image[place] = UInt8.random(in: 0...255, using: &random)
      case 1: image[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 2: image.put(UInt32(truncatingIfNeeded: edge), at: place / 4 * 4 + 2)
      default: image.put(edge, at: place / 8 * 8)
      }
    }
    if Int.random(in: 0..<8, using: &random) == 0 { image.size = .random(in: 0...image.size, using: &random) }
  }

  @Test(arguments: images.indices)
  func `mutated tables are errors or partitions within the image`(index: Int) throws {
    let (name, original, headers) = Self.images[index]
    var random = SeededGenerator(seed: UInt64(index) + 1)
    var (read, refused) = (0, 0)
    for round in 0..<4000 {
      var image = original
      mutate(&image, using: &random)
      // With wrong checksums, nothing behind them is looked at.
      if Bool.random(using: &random) {
        for (header, list) in headers { image.sign(header: header, list: list) }
      }
      do {
        let table = try image.table(sectorSize: [nil, 512, 4096][round % 3])
        if let problem = check(table, image) { Issue.record("\(name), round \(round): \(problem)") }
        read += 1
      } catch {
        #expect(!error.description.contains("\n"))
        refused += 1
      }
    }
    // The property says something only where both happen.
    #expect(read > 400 && refused > 400, "\(name): \(read) read, \(refused) refused")
  }

  @Test func `random boot records`() throws {
    var random = SeededGenerator(seed: 99)
    var read = 0
    for round in 0..<5000 {
      var image = HandmadeImage(size: .random(in: 0...1 << 20, using: &random))
      for sector in 0..<8 as Range<UInt64> {
        let types: [UInt8] = [0, 0x83, 0x05, 0x0F, 0x85, 0x83, 0xEE]
        image.putRecord(
          (0..<4).map { _ in
            (
              types.dropLast(round % 4 == 0 ? 0 : 1).randomElement(using: &random) ?? 0,
              .random(in: 0...(Bool.random(using: &random) ? 10 : .max), using: &random),
              .random(in: 0...(Bool.random(using: &random) ? 10 : .max), using: &random), 0
            )
          }, at: sector)
      }
      guard let table = try? image.table() else { continue }
      if let problem = check(table, image) { Issue.record("round \(round): \(problem)") }
      read += 1
    }
    #expect(read > 10)
  }

  @Test func `random headers with right checksums`() throws {
    var random = SeededGenerator(seed: 77)
    var read = 0
    for round in 0..<5000 {
      var (image, places) = HandmadeImage.guidTable([.init(first: 100, last: 199)])
      for field in [12, 24, 32, 40, 48, 72, 80, 84] as [UInt64] where Int.random(in: 0..<4, using: &random) == 0 {
        let value = Self.edges.randomElement(using: &random) ?? 0
        if field == 12 || field >= 80 {
          image.put(UInt32(truncatingIfNeeded: value), at: places.primary + field)
        } else {
          image.put(value, at: places.primary + field)
        }
      }
      image.signHeader(places.primary)
      if Bool.random(using: &random) { image.blocks[places.lastSector] = image.blocks[1] }
      guard let table = try? image.table() else { continue }
      if let problem = check(table, image) { Issue.record("round \(round): \(problem)") }
      read += 1
    }
    #expect(read > 100)
  }
}
