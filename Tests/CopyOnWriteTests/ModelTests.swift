// Random programs of all verbs, run on the engine and on an array, must agree on every byte, extent and count. A failure
// prints its seed; COWMOUNT_TEST_SEED=<seed> runs the same programs again.

import DiskIO
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import CopyOnWrite

@Suite struct ModelTests {
  @Test(arguments: (12...21).map { 1 << $0 }, StoreAccess.allCases)
  func `random programs agree with an array`(blockSize: Int, access: StoreAccess) throws {
    let sizes = [0, 1, 511, 4095, 4096, 130_000, 2 * blockSize, 3 * blockSize + 17]
    for (index, size) in sizes.enumerated() {
      for isSparse in [false, true] where size > 0 || !isSparse {
        let variant = UInt64(blockSize) << 8 | UInt64(index) << 1 | (isSparse ? 1 : 0)
        var program = try RandomProgram(
          blockSize: blockSize, access: access, size: size, isSparse: isSparse,
          generator: SeededGenerator(seed: testSeed ^ variant &* 0x9E37_79B9))
        try program.run(steps: blockSize > 1 << 18 ? 25 : 50)
      }
    }
  }

  /// The same, longer, where most happens: small blocks, all verbs on the same few of them.
  @Test(arguments: StoreAccess.allCases, [false, true])
  func `a long random program agrees with an array`(access: StoreAccess, detectZeroes: Bool) throws {
    var program = try RandomProgram(
      blockSize: 4096, access: access, size: 70_001, isSparse: true, detectZeroes: detectZeroes,
      generator: SeededGenerator(seed: testSeed))
    try program.run(steps: 2500)
  }

  /// Pages of 16 and 64 KiB, and blocks that are smaller.
  @Test(arguments: [16384, 65536], [4096, 32768])
  func `a kernel with larger pages makes no difference`(pageSize: Int, blockSize: Int) throws {
    for copyOnRead in [CowDisk.CopyOnRead.never, .always] {
      var program = try RandomProgram(
        blockSize: blockSize, access: .mapped, size: 5 * blockSize + 333, isSparse: true, copyOnRead: copyOnRead,
        pageSize: pageSize, generator: SeededGenerator(seed: testSeed))
      try program.run(steps: 300)
    }
  }

  /// Nothing that can be seen of a disk tells that its reads copy, nor that its writes make copies give way.
  @Test(arguments: StoreAccess.allCases, [nil, 12 * 4096] as [UInt64?])
  func `a disk that copies on read agrees with an array`(access: StoreAccess, limit: UInt64?) throws {
    for detectZeroes in [false, true] {
      var program = try RandomProgram(
        blockSize: 4096, access: access, size: 70_001, isSparse: true, detectZeroes: detectZeroes,
        copyOnRead: .always, maxOverlay: limit, generator: SeededGenerator(seed: testSeed))
      try program.run(steps: 500)
    }
    for (index, blockSize) in [8192, 65536, 1 << 21].enumerated() {
      for isSparse in [false, true] {
        var program = try RandomProgram(
          blockSize: blockSize, access: access, size: 2 * blockSize + 17, isSparse: isSparse, copyOnRead: .always,
          maxOverlay: limit.map { _ in UInt64(3 * blockSize) },
          generator: SeededGenerator(seed: testSeed &+ UInt64(index)))
        try program.run(steps: 50)
      }
    }
  }
}

/// A disk and its model, and steps that do the same to both.
private struct RandomProgram {
  private let disk: CowDisk
  private let blockSize: Int
  private let mostBytes: Int
  private let detectZeroes: Bool
  private let maxOverlay: UInt64
  private let canReserve: Bool
  private let name: String
  private var model: DiskModel
  private var generator: SeededGenerator

  init(
    blockSize: Int, access: StoreAccess, size: Int, isSparse: Bool, detectZeroes: Bool = false,
    copyOnRead: CowDisk.CopyOnRead = .never, maxOverlay: UInt64? = nil,
    pageSize: Int = LazyMemory.pageSize, generator: SeededGenerator
  ) throws {
    var generator = generator
    self.blockSize = blockSize
    self.detectZeroes = detectZeroes
    self.maxOverlay = maxOverlay ?? .max
    canReserve = access != .plain
    // Room to grow by some blocks, odd on purpose.
    mostBytes = max(size, 3 * blockSize, 40_000) + 2 * blockSize + 333
    name = "blocks of \(blockSize), base of \(size), sparse \(isSparse), \(access), seed \(testSeed)"
    let holes = isSparse ? Self.randomHoles(in: size, using: &generator) : []
    let base = TestBase(
      pattern(size, salt: UInt64(size)), holes: holes.map { UInt64($0.lowerBound)..<UInt64($0.upperBound) })
    disk = try makeDisk(
      over: base, blockSize: blockSize, access: access,
      options: .init(maxOverlay: maxOverlay, detectZeroes: detectZeroes, copyOnRead: copyOnRead), pageSize: pageSize)
    model = DiskModel(base: base.bytes, holes: holes, blockSize: blockSize)
    self.generator = generator
  }

  /// Holes that begin and end anywhere, at odd bytes too, and sometimes at the base's end.
  private static func randomHoles(in size: Int, using generator: inout SeededGenerator) -> [Range<Int>] {
    var holes: [Range<Int>] = []
    var position = Int.random(in: 0...size / 4, using: &generator)
    while position < size, holes.count < 6 {
      let end = position + 1 + Int.random(in: 0...size / 2, using: &generator)
      holes.append(position..<min(end, size))
      position = end + 1 + Int.random(in: 0...size / 4, using: &generator)
    }
    return holes
  }

  mutating func run(steps: Int) throws {
    for step in 0..<steps {
      let verb = try runOne()
      try check(after: "step \(step), \(verb)")
      if step % 16 == 15 { try checkAll(after: "step \(step), \(verb)") }
    }
    try checkAll(after: "the end")
  }

  // MARK: Steps

  /// Does one random thing to both, and says what.
  private mutating func runOne() throws -> String {
    switch Int.random(in: 0..<100, using: &generator) {
    case 0..<45:
      let range = randomRange(below: mostBytes)
      var bytes = pattern(range.count, salt: generator.next())
      if Bool.random(using: &generator) {
        let part = randomRange(below: range.count)
        copy(zeros(part.count)[...], into: &bytes, at: part.lowerBound)
      }
      var after = model
      if detectZeroes {
        after.writeDetectingZeroes(bytes, at: range.lowerBound)
      } else {
        after.write(bytes, at: range.lowerBound)
      }
      guard after.mostAllocatedBytes(since: model) <= maxOverlay else { return "no space to write \(range)" }
      try disk.write(bytes, at: UInt64(range.lowerBound))
      model = after
      return "write \(range)"
    case 45..<80:
      let range = randomRange(below: Int.random(in: 0..<4, using: &generator) == 0 ? mostBytes : model.size)
      let growing = range.upperBound > model.size
      var after = model
      after.zero(range.clamped(to: 0..<model.size))
      if growing { after.resize(to: range.upperBound) }
      guard after.mostAllocatedBytes(since: model) <= maxOverlay else { return "no space to zero \(range)" }
      try disk.zero(UInt64(range.lowerBound)..<UInt64(range.upperBound), growing: growing)
      model = after
      return "zero \(range)"
    case 80..<92:
      let size = randomPlace(upTo: mostBytes)
      try disk.resize(to: UInt64(size))
      model.resize(to: size)
      return "resize to \(size)"
    default:
      // Some of them make the disk grow.
      let range = randomRange(below: Bool.random(using: &generator) ? mostBytes : model.size)
      let growing = range.upperBound > model.size
      guard canReserve else {
        #expect(throws: Errno.notSupportedOnSocket) { try disk.reserve(0..<disk.size) }
        return "nothing can be reserved"
      }
      let blocks = range.isEmpty ? 0 : (range.upperBound - 1) / blockSize - range.lowerBound / blockSize + 1
      guard model.allocatedBytes + UInt64(blocks * blockSize) <= maxOverlay else {
        return "no space to reserve \(range)"
      }
      try disk.reserve(UInt64(range.lowerBound)..<UInt64(range.upperBound), growing: growing)
      if growing { model.resize(to: range.upperBound) }
      return "reserve \(range)"
    }
  }

  /// Any place, or one next to a border of blocks, or the end.
  private mutating func randomPlace(upTo limit: Int) -> Int {
    let place = Int.random(in: 0...limit, using: &generator)
    switch Int.random(in: 0..<5, using: &generator) {
    case 0: return limit
    case 1: return place / blockSize * blockSize
    case 2: return min(limit, place / blockSize * blockSize + Int.random(in: 0...2, using: &generator))
    case 3: return max(0, place / blockSize * blockSize - Int.random(in: 0...2, using: &generator))
    default: return place
    }
  }

  /// Mostly short ranges, some of several blocks, a few empty ones.
  private mutating func randomRange(below limit: Int) -> Range<Int> {
    let start = randomPlace(upTo: limit)
    switch Int.random(in: 0..<8, using: &generator) {
    case 0: return start..<start
    case 1: return start..<min(limit, start + blockSize)
    case 2...4: return start..<min(limit, start + Int.random(in: 0...5000, using: &generator))
    default: return start..<max(start, randomPlace(upTo: limit))
    }
  }

  // MARK: Checks

  private mutating func check(after what: String) throws {
    try #require(disk.size == UInt64(model.size), "\(what); \(name)")
    try #require(disk.allocatedBytes == model.allocatedBytes, "\(what); \(name)")
    let taken = disk.allocatedBytes + disk.cachedBytes
    try #require(disk.limit.left == maxOverlay - (maxOverlay == .max ? 0 : taken), "\(what); \(name)")
    try compare(randomRange(below: model.size), after: what)
    guard model.size > 0 else { return }
    let place = min(randomPlace(upTo: model.size), model.size - 1)
    let extent = try disk.extent(at: UInt64(place))
    try #require(extent == model.extent(at: place), "extent at \(place), \(what); \(name)")
  }

  private func checkAll(after what: String) throws {
    try disk.expectSound("\(what); \(name)")
    try compare(0..<model.size, after: what)
    let changes = disk.changes()
    try #require(changes == model.changes, "\(what); \(name)")
    var place = 0
    while place < model.size {
      let extent = try disk.extent(at: UInt64(place))
      try #require(extent == model.extent(at: place), "extent at \(place), \(what); \(name)")
      // The promise behind it all: what is called a hole reads as zeros.
      if !extent.isData {
        let found = difference(Array(model.bytes[place..<Int(extent.end)]), zeros(Int(extent.end) - place))
        try #require(found == nil, "a hole at \(place): \(found ?? ""), \(what); \(name)")
      }
      place = Int(extent.end)
    }
  }

  private func compare(_ range: Range<Int>, after what: String) throws {
    let expected = Array(model.bytes[range])
    let bytes = UInt64(range.lowerBound)..<UInt64(range.upperBound)
    let read = difference(try disk.bytes(bytes), expected)
    try #require(read == nil, "read \(range): \(read ?? ""), \(what); \(name)")
    let gathered = difference(try disk.gatheredBytes(bytes), expected)
    try #require(gathered == nil, "gather \(range): \(gathered ?? ""), \(what); \(name)")
  }
}
