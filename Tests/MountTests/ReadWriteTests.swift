// Reads and writes at any offset and length, compared with what a plain file would hold.

import Glibc
import TestSupport
import Testing

extension Mounted {
  @Suite struct ReadsAndWrites {
    @Test(arguments: ["4k", "64k", "2M"])
    func anyOffsetAndLength(blockSize: String) async throws {
      let size = 300_001
      let mount = try await sandbox.mount(sandbox.image(size: size), "--block-size", blockSize)
      let file = try mount.open()
      var expected = Image.content.bytes(size)
      var pattern = Pattern(seed: 1000)
      for offset in [0, 1, 511, 4095, 4096, 65_535, 70_000, 131_071, 290_000] {
        for count in [1, 2, 513, 4095, 4097, 10_000] {
          pattern.seed += 1
          let bytes = pattern.bytes(count)
          #expect(try file.write(bytes, at: offset) == count)
          expected.replaceSubrange(offset..<offset + count, with: bytes)
          // The neighbours too, so that a copy-up that took too much or too little shows.
          let around = max(0, offset - 5000)..<min(size, offset + count + 5000)
          try expect(file, at: around.lowerBound, holds: Array(expected[around]), "\(count) bytes at \(offset)")
        }
        try file.sync()
      }
      try expect(file, at: 0, holds: expected)
      // Past the kernel's cache: what the process itself has.
      let direct = try mount.open(O_RDONLY | O_DIRECT)
      try expect(direct, at: 0, holds: expected)
    }

    @Test func longRequests() async throws {
      let size = 9 << 20
      let mount = try await sandbox.mount(sandbox.image(size: size))
      let file = try mount.open()
      let new = Pattern(seed: 21).bytes(5 << 20)
      #expect(try file.write(new, at: 1_000_001) == new.count)
      try expectBase(file, 0..<1_000_001)
      try expect(file, at: 1_000_001, holds: new)
      try expectBase(file, 1_000_001 + new.count..<size)
      #expect(try file.read(size + 4096, at: 0).count == size)
    }

    /// Random programs of every verb on two descriptors, one buffered and one O_DIRECT, against an array.
    @Test(arguments: [1, 2, 3], ["4k", "64k"])
    func randomPrograms(seed: UInt64, blockSize: String) async throws {
      let mount = try await sandbox.mount(
        sandbox.image(size: 700_001, data: [0..<200_000, 400_000..<700_001]), "--block-size", blockSize)
      var program = try RandomProgram(
        seed: seed, buffered: mount.open(), direct: mount.open(O_RDWR | O_DIRECT))
      for step in 0..<400 {
        try program.step()
        if step % 50 == 0 { try program.compareAll("step \(step)") }
      }
      try program.compareAll("at the end")
      try expect(TestFile(mount.file, O_RDONLY | O_DIRECT), at: 0, holds: program.model, "seed \(seed)")
    }
  }
}

private struct RandomProgram {
  let seed: UInt64
  let buffered: TestFile
  let direct: TestFile
  var model: [UInt8]
  private var random: SeededGenerator
  private var pattern = Pattern()
  private let limit = 1_000_000

  init(seed: UInt64, buffered: TestFile, direct: TestFile) throws {
    self.seed = seed
    self.buffered = buffered
    self.direct = direct
    random = SeededGenerator(seed: seed)
    model = try buffered.read(buffered.size, at: 0)
  }

  mutating func step() throws {
    let offset = Int.random(in: 0..<limit, using: &random)
    let count = Int.random(in: 1...(Bool.random(using: &random) ? 200_000 : 9000), using: &random)
    let range = offset..<min(limit, offset + count)
    switch Int.random(in: 0..<20, using: &random) {
    case 0..<8: try write(range, to: buffered)
    case 8..<11: try write(range.lowerBound & ~511..<(range.upperBound + 511) & ~511, to: direct)
    case 11..<15: try compare(range)
    case 15:
      try buffered.resize(offset)
      setCount(offset)
    case 16: try buffered.sync()
    case 17:
      try buffered.allocate([.zeroRange], range)
      setCount(max(model.count, range.upperBound))
      clear(range)
    default:
      try direct.allocate(.punchHole, range)
      clear(range)
    }
  }

  func compareAll(_ when: String) throws {
    #expect(try buffered.size == model.count, "seed \(seed), \(when)")
    try expect(buffered.read(limit * 2, at: 0), equals: model, "seed \(seed), \(when)")
  }

  private mutating func write(_ range: Range<Int>, to file: TestFile) throws {
    pattern.seed += 1
    let bytes = pattern.bytes(range.count)
    #expect(try file.write(bytes, at: range.lowerBound) == range.count)
    setCount(max(model.count, range.upperBound))
    model.replaceSubrange(range, with: bytes)
  }

  private func compare(_ range: Range<Int>) throws {
    let visible = range.clamped(to: 0..<model.count)
    let bytes = range.lowerBound < model.count ? Array(model[visible]) : []
    expect(try buffered.read(range.count, at: range.lowerBound), equals: bytes, at: range.lowerBound, "seed \(seed)")
  }

  private mutating func setCount(_ count: Int) {
    if count < model.count {
      model.removeLast(model.count - count)
    } else {
      model += zeros(count - model.count)
    }
  }

  private mutating func clear(_ range: Range<Int>) {
    let visible = range.clamped(to: 0..<model.count)
    if !visible.isEmpty { model.replaceSubrange(visible, with: zeros(visible.count)) }
  }
}
