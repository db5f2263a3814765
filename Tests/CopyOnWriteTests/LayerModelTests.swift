// Random programs of verbs and of what makes, takes up and merges layers, run on the engine and on arrays. A failure prints its
// seed; COWMOUNT_TEST_SEED=<seed> runs the same programs again.

import DiskIO
import SystemPackage
import TestSupport
import Testing

@testable import CopyOnWrite

@Suite struct LayerModelTests {
  @Test(arguments: [4096, 65536], StoreAccess.allCases)
  func `random histories agree with arrays`(blockSize: Int, access: StoreAccess) throws {
    for (index, size) in [0, 1, 4096, 130_000, 5 * blockSize + 17].enumerated() {
      for copyOnRead in [CowDisk.CopyOnRead.never, .always] {
        var history = try RandomHistory(
          blockSize: blockSize, access: access, size: size, options: .init(copyOnRead: copyOnRead),
          generator: SeededGenerator(seed: testSeed &+ UInt64(index)))
        try history.run(steps: 120)
      }
    }
  }

  @Test(arguments: [false, true])
  func `a long random history agrees with arrays`(copies: Bool) throws {
    var history = try RandomHistory(
      blockSize: 4096, access: .mapped, size: 70_001,
      options: .init(maxOverlay: copies ? 64 << 12 : nil, copyOnRead: copies ? .always : .never),
      generator: SeededGenerator(seed: testSeed))
    try history.run(steps: 2000)
  }
}

/// A disk, its checkpoints, and what each of them must read as.
private struct RandomHistory {
  private struct Kept {
    let checkpoint: Checkpoint
    let bytes: [UInt8]
  }

  private let disk: CowDisk
  private let blockSize: Int
  private let mostBytes: Int
  private let base: [UInt8]
  private let hasLimit: Bool
  private var model: [UInt8]
  private var checkpoints: [Kept] = []
  private var generator: SeededGenerator
  private let name: String

  init(
    blockSize: Int, access: StoreAccess, size: Int, options: CowDisk.Options, generator: SeededGenerator
  ) throws {
    self.blockSize = blockSize
    self.generator = generator
    mostBytes = max(size, 40_000) + 2 * blockSize + 333
    let holes = size > 20_000 ? [UInt64(9_000)..<UInt64(14_001), UInt64(size - 3000)..<UInt64(size)] : []
    let image = TestBase(pattern(size, salt: UInt64(size)), holes: holes)
    base = image.bytes
    model = image.bytes
    hasLimit = options.maxOverlay != nil
    disk = try makeDisk(over: image, blockSize: blockSize, access: access, options: options)
    name = "blocks of \(blockSize), base of \(size), \(access), seed \(testSeed)"
  }

  mutating func run(steps: Int) throws {
    for step in 0..<steps {
      let verb = try runOne()
      try check(after: "step \(step), \(verb); \(name)", all: step % 8 == 7)
    }
    checkpoints = []
    try merge()
    try check(after: "the end; \(name)", all: true)
    if !hasLimit { #expect(disk.layerCount == 1) }
  }

  private func scratch() throws(Errno) -> File { try File.scratch(in: scratchDirectory) }

  private mutating func runOne() throws -> String {
    do {
      return try runAny()
    } catch let error as Errno {
      guard hasLimit, error == .noSpace else { throw error }
      // Part of it may be done: what reads as what is known again after a reset.
      try disk.reset(to: nil, in: scratch())
      model = base
      return "no space"
    }
  }

  private mutating func runAny() throws -> String {
    switch Int.random(in: 0..<100, using: &generator) {
    case 0..<40:
      let range = randomRange(below: mostBytes)
      let bytes = pattern(range.count, salt: generator.next())
      try disk.write(bytes, at: UInt64(range.lowerBound))
      if range.upperBound > model.count, !range.isEmpty { model += zeros(range.upperBound - model.count) }
      copy(bytes[...], into: &model, at: range.lowerBound)
      return "write \(range)"
    case 40..<58:
      let range = randomRange(below: model.count)
      try disk.zero(UInt64(range.lowerBound)..<UInt64(range.upperBound))
      copy(zeros(range.count)[...], into: &model, at: range.lowerBound)
      return "zero \(range)"
    case 58..<66:
      let size = Int.random(in: 0...mostBytes, using: &generator)
      try disk.resize(to: UInt64(size))
      model = Array(model.prefix(size)) + zeros(max(0, size - model.count))
      return "resize to \(size)"
    case 66..<70:
      let range = randomRange(below: model.count)
      // Where nothing can be reserved, that is all the same here.
      try? disk.reserve(UInt64(range.lowerBound)..<UInt64(range.upperBound))
      return "reserve \(range)"
    case 70..<82 where checkpoints.count < 9:
      let checkpoint = try disk.checkpoint(in: scratch())
      checkpoints.append(Kept(checkpoint: checkpoint, bytes: model))
      return "checkpoint \(checkpoints.count)"
    case 82..<88:
      let index = Int.random(in: -1..<checkpoints.count, using: &generator)
      try disk.reset(to: index < 0 ? nil : checkpoints[index].checkpoint, in: scratch())
      model = index < 0 ? base : checkpoints[index].bytes
      return "reset to \(index)"
    default:
      guard !checkpoints.isEmpty else { return "nothing" }
      let index = Int.random(in: checkpoints.indices, using: &generator)
      checkpoints.remove(at: index)
      try merge()
      return "delete \(index)"
    }
  }

  private func merge() throws {
    do {
      try disk.mergeLayers()
    } catch {
      guard hasLimit, error == .noSpace else { throw error }
    }
  }

  private mutating func randomRange(below limit: Int) -> Range<Int> {
    var start = Int.random(in: 0...limit, using: &generator)
    if Bool.random(using: &generator) { start = start / blockSize * blockSize }
    let longest = Bool.random(using: &generator) ? 5000 : limit
    return start..<min(limit, start + Int.random(in: 0...longest, using: &generator))
  }

  // MARK: Checks

  private func check(after what: String, all: Bool) throws {
    try #require(disk.size == UInt64(model.count), "\(what)")
    guard all else { return }
    let wrong = difference(try disk.contents(), model)
    try #require(wrong == nil, "the disk: \(wrong ?? ""), \(what)")
    for (index, kept) in checkpoints.enumerated() {
      let (checkpoint, expected) = (kept.checkpoint, kept.bytes)
      try #require(checkpoint.size == UInt64(expected.count), "checkpoint \(index), \(what)")
      let wrong = difference(try checkpoint.contents(), expected)
      try #require(wrong == nil, "checkpoint \(index): \(wrong ?? ""), \(what)")
      try checkHoles(of: expected, "checkpoint \(index), \(what)") { try checkpoint.extent(at: $0) }
    }
    try checkHoles(of: model, what) { try disk.extent(at: $0) }
    try disk.expectSound("\(what)")
  }

  /// What is called a hole reads as zeros.
  private func checkHoles(of bytes: [UInt8], _ what: String, _ extent: (UInt64) throws -> Extent) throws {
    var place = 0
    while place < bytes.count {
      let run = try extent(UInt64(place))
      let end = min(bytes.count, Int(run.end))
      try #require(end > place, "\(what)")
      if !run.isData {
        let wrong = difference(Array(bytes[place..<end]), zeros(end - place))
        try #require(wrong == nil, "a hole at \(place): \(wrong ?? ""), \(what)")
      }
      place = end
    }
  }
}

extension Checkpoint {
  func contents() throws(Errno) -> [UInt8] {
    let buffer = MemoryBuffer(count: Int(size), filledWith: 0xDE)
    try read(into: buffer.bytes, at: 0)
    return [UInt8](UnsafeRawBufferPointer(buffer.bytes))
  }
}
