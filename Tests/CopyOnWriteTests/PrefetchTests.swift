// Prefetching, step by step: all data and nothing else comes into the overlay, others come first and have the last word.

import SystemPackage
import TestSupport
import Testing

@testable import CopyOnWrite

@Suite struct PrefetchTests {
  private static let blockSize = 16384
  private static let size = 40 * blockSize + 700
  /// From the middle of a block to the middle of another.
  private static let hole = UInt64(5 * blockSize + 100)..<UInt64(9 * blockSize + 100)

  private struct Stage {
    let hold = Hold()
    let base: TestBase
    let disk: CowDisk

    init(limit: UInt64? = nil, badBlock: Int? = nil) throws {
      let hold = hold
      base = TestBase(
        pattern(size), holes: [hole],
        beforeRead: { (offset) throws(Errno) in
          hold.pass()
          if let badBlock, Int(offset) / blockSize == badBlock { throw .ioError }
        })
      disk = try makeDisk(
        over: base, blockSize: blockSize, options: .init(maxOverlay: limit, copyOnRead: .always))
    }

    /// Takes steps of at most so many blocks until the end, or the first that fails.
    func prefetch(blocks: Int = 4, from start: UInt64 = 0) -> [CowDisk.PrefetchStep] {
      let buffer = MemoryBuffer(count: blocks * blockSize, filledWith: 0xDE)
      var steps: [CowDisk.PrefetchStep] = []
      var offset = start
      while let step = disk.prefetch(from: offset, through: buffer.bytes), steps.count < 1000 {
        steps.append(step)
        offset = step.range.upperBound
      }
      return steps
    }
  }

  /// Whole blocks of the hole.
  private static let holeBlocks = 3

  @Test(arguments: [1, 4, 100])
  func `all data comes into the overlay, and no hole`(blocks: Int) throws {
    let stage = try Stage()
    let steps = stage.prefetch(blocks: blocks)
    #expect(steps.first?.range.lowerBound == 0 && steps.last?.range.upperBound == 41 * UInt64(Self.blockSize))
    for (one, next) in zip(steps, steps.dropFirst()) { #expect(one.range.upperBound == next.range.lowerBound) }
    for step in steps {
      #expect(step.outcome == .copied && step.hasAskedBase || step.outcome == .nothing && !step.hasAskedBase)
      #expect(step.outcome == .nothing || step.range.count <= blocks * Self.blockSize)
    }
    #expect(stage.disk.cachedBytes == UInt64((41 - Self.holeBlocks) * Self.blockSize))
    #expect(stage.base.bytesRead == Self.size - Self.holeBlocks * Self.blockSize)
    let reads = stage.base.reads
    #expect(difference(try stage.disk.contents(), stage.base.bytes) == nil)
    #expect(stage.base.reads == reads && stage.disk.allocatedBytes == 0)
    // There is nothing left to do.
    #expect(stage.prefetch().allSatisfy { $0.outcome == .nothing })
    #expect(stage.base.reads == reads)
  }

  @Test func `what the overlay has is left alone`() throws {
    let stage = try Stage()
    let block = UInt64(Self.blockSize)
    try stage.disk.write(filled(7, 2 * Self.blockSize), at: 2 * block)
    try stage.disk.zero(12 * block..<14 * block)
    _ = try stage.disk.bytes(20 * block..<21 * block)
    let expected = try stage.disk.contents()
    let before = stage.base.bytesRead
    _ = stage.prefetch()
    #expect(stage.base.bytesRead == before)
    #expect(difference(try stage.disk.contents(), expected) == nil)
    #expect(stage.disk.allocatedBytes == 2 * block)
  }

  @Test func `a part that cannot be read is told and left out`() throws {
    let stage = try Stage(badBlock: 3)
    let steps = stage.prefetch(blocks: 1)
    let bad = UInt64(3 * Self.blockSize)..<UInt64(4 * Self.blockSize)
    #expect(steps.filter { $0.outcome == .baseFailed(.ioError) }.map(\.range) == [bad])
    #expect(stage.disk.cachedBytes == UInt64((41 - Self.holeBlocks - 1) * Self.blockSize))
    #expect(throws: Errno.ioError) { try stage.disk.bytes(bad) }
  }

  @Test func `it ends where copies have no more space, and leaves some to writers`() throws {
    let limit = UInt64(20 * Self.blockSize)
    let stage = try Stage(limit: limit)
    let steps = stage.prefetch(blocks: 1)
    let full = try #require(steps.first { $0.outcome == .overlayFailed(.noSpace) })
    #expect(!full.hasAskedBase)
    #expect(stage.disk.cachedBytes == full.range.lowerBound - UInt64(Self.holeBlocks * Self.blockSize))
    #expect(stage.disk.cachedBytes <= limit - stage.disk.spareSpace)
    #expect(try stage.disk.spaceForCopies() < UInt64(Self.blockSize))
    #expect(try Stage(limit: limit).disk.spaceForCopies() == limit - stage.disk.spareSpace)
    // Copies give way to all that may be written.
    try stage.disk.write(pattern(Int(limit), salt: 3), at: UInt64(Self.blockSize))
    #expect(stage.disk.allocatedBytes == limit)
  }

  @Test func `a disk that was cut off has nothing to prefetch behind the cut`() throws {
    let stage = try Stage()
    try stage.disk.resize(to: 5000)
    try stage.disk.resize(to: UInt64(Self.size))
    #expect(stage.prefetch().count == 1)
    #expect(stage.base.bytesRead == 5000)
    #expect(difference(try stage.disk.contents(), stage.base.bytes[..<5000] + zeros(Self.size - 5000)) == nil)
  }

  // MARK: With others

  /// Holds a step on the first blocks while it waits for the base.
  private func holdStep(_ stage: Stage, while verb: @escaping @Sendable (CowDisk) throws -> Void) throws {
    let disk = stage.disk
    stage.hold.arm()
    let prefetch = TestThread {
      let buffer = MemoryBuffer(count: 4 * Self.blockSize, filledWith: 0xDE)
      let step = disk.prefetch(from: 0, through: buffer.bytes)
      try check(step?.outcome == .copied, "the step was \(String(describing: step))")
    }
    #expect(stage.hold.isHolding(), "nobody asked the base")
    let other = TestThread { try verb(disk) }
    #expect(other.finishes(), "it waited for the prefetch")
    stage.hold.release()
    try prefetch.join()
    try other.join()
  }

  @Test func `a write is not lost to a prefetch, and does not wait for it`() throws {
    let stage = try Stage()
    try holdStep(stage) { try $0.write(filled(7, Self.blockSize), at: UInt64(Self.blockSize)) }
    var expected = stage.base.bytes
    copy(filled(7, Self.blockSize)[...], into: &expected, at: Self.blockSize)
    #expect(difference(try stage.disk.contents(), expected) == nil)
    #expect(stage.disk.allocatedBytes == UInt64(Self.blockSize))
  }

  @Test func `a read does not wait for a prefetch`() throws {
    let stage = try Stage()
    let base = stage.base
    try holdStep(stage) { disk in
      try check(try disk.bytes(100..<20_000) == Array(base.bytes[100..<20_000]), "the read is wrong")
    }
    #expect(difference(try stage.disk.contents(), stage.base.bytes) == nil)
  }

  @Test func `a prefetch waits for a read of the same blocks, and asks for nothing twice`() throws {
    let stage = try Stage()
    let (disk, base) = (stage.disk, stage.base)
    stage.hold.arm()
    let read = TestThread { _ = try disk.bytes(0..<UInt64(Self.blockSize)) }
    #expect(stage.hold.isHolding())
    let prefetch = TestThread { _ = stage.prefetch() }
    prefetch.giveMoment()
    stage.hold.release()
    try read.join()
    try prefetch.join()
    #expect(base.bytesRead == Self.size - Self.holeBlocks * Self.blockSize)
  }
}
