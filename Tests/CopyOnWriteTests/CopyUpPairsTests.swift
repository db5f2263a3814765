// Pairs of verbs on one block, the first held in the middle of its copy-up (it has asked the base for bytes) while the
// second comes. Whatever the second does then, the disk must end as if the two had come one after the other. Each test
// names the order that it must look like; without the stripe lock the first, resumed, would put old bytes over new ones.

import TestSupport
import Testing

@testable import CopyOnWrite

@Suite struct CopyUpPairsTests {
  private static let blockSize = 16384
  private let base: TestBase
  private let hold = Hold()
  private let disk: CowDisk

  init() throws {
    let hold = hold
    base = TestBase(pattern(4 * Self.blockSize), beforeRead: { _ in hold.pass() })
    disk = try makeDisk(over: base, blockSize: Self.blockSize)
  }

  /// Runs `first` until it is held in its copy-up, then `second` to its end or until it waits, then lets both end.
  ///
  /// - Parameter mayWait: whether the second may wait for the first; else it must come to its end before.
  private func hold(
    _ first: @escaping @Sendable (CowDisk) throws -> Void, mayWait: Bool = true,
    while second: @escaping @Sendable (CowDisk) throws -> Void
  ) throws {
    let disk = disk
    hold.arm()
    let firstThread = TestThread { try first(disk) }
    #expect(hold.isHolding(), "nothing was copied up")
    let secondThread = TestThread { try second(disk) }
    if mayWait { secondThread.giveMoment() } else { #expect(secondThread.finishes(), "the second waited") }
    hold.release()
    try firstThread.join()
    try secondThread.join()
    try disk.expectSound()
  }

  /// What the second block reads as; the others must read as the base does.
  private func secondBlock() throws -> [UInt8] {
    let contents = try disk.contents()
    let range = Self.blockSize..<2 * Self.blockSize
    #expect(Array(contents[..<range.lowerBound]) == Array(base.bytes[..<range.lowerBound]))
    #expect(Array(contents[range.upperBound...]) == Array(base.bytes[range.upperBound...]))
    return Array(contents[range])
  }

  private var baseBlock: [UInt8] { Array(base.bytes[Self.blockSize..<2 * Self.blockSize]) }

  /// The second block of the base with other bytes over it, one after the other.
  private func baseBlock(under writes: (bytes: [UInt8], place: Int)...) -> [UInt8] {
    var block = baseBlock
    for write in writes { copy(write.bytes[...], into: &block, at: write.place) }
    return block
  }

  private static let start = UInt64(blockSize)

  @Test func `a whole-block write is not lost to a partial write of the block`() throws {
    let whole = filled(0xAA, Self.blockSize)
    try hold {
      try $0.write(filled(0x11, 100), at: Self.start + 5000)
    } while: {
      try $0.write(whole, at: Self.start)
    }
    let found = try secondBlock()
    // The partial write began first but may count as the later one.
    var partialLater = whole
    copy(filled(0x11, 100)[...], into: &partialLater, at: 5000)
    #expect(found == whole || found == partialLater)
  }

  @Test func `a write of many whole blocks is not lost to a partial write in one of them`() throws {
    let all = filled(0xAA, 4 * Self.blockSize)
    try hold {
      try $0.write(filled(0x11, 100), at: Self.start + 5000)
    } while: {
      try $0.write(all, at: 0)
    }
    var partialLater = all
    copy(filled(0x11, 100)[...], into: &partialLater, at: Self.blockSize + 5000)
    let found = try disk.contents()
    #expect(found == all || found == partialLater)
  }

  @Test(arguments: [0, 200, 9000, blockSize - 50])
  func `of two partial writes of a block both are there`(place: Int) throws {
    try hold {
      try $0.write(filled(0x11, 100), at: Self.start + 5000)
    } while: {
      try $0.write(filled(0x22, 50), at: Self.start + UInt64(place))
    }
    #expect(try secondBlock() == baseBlock(under: (filled(0x11, 100), 5000), (filled(0x22, 50), place)))
    #expect(disk.allocatedBytes == UInt64(Self.blockSize))
  }

  @Test func `a trim of the block leaves nothing of the base, whenever it counts`() throws {
    try hold {
      try $0.write(filled(0x11, 100), at: Self.start + 5000)
    } while: {
      try $0.zero(Self.start..<2 * Self.start)
    }
    let found = try secondBlock()
    var writeLater = zeros(Self.blockSize)
    copy(filled(0x11, 100)[...], into: &writeLater, at: 5000)
    #expect(found == zeros(Self.blockSize) || found == writeLater)
    // The block map counts right, too: without the lock two changes of one state would meet.
    #expect(disk.allocatedBytes == (found == writeLater ? UInt64(Self.blockSize) : 0))
  }

  @Test func `a partial write is not lost to zeroing another part of the block`() throws {
    try hold {
      try $0.zero(Self.start + 5000..<Self.start + 5100)
    } while: {
      try $0.write(filled(0x22, 50), at: Self.start + 200)
    }
    #expect(try secondBlock() == baseBlock(under: (zeros(100), 5000), (filled(0x22, 50), 200)))
  }

  @Test func `zeroing a part of the block is not lost to a partial write of it`() throws {
    try hold {
      try $0.write(filled(0x22, 50), at: Self.start + 200)
    } while: {
      try $0.zero(Self.start + 5000..<Self.start + 5100)
    }
    #expect(try secondBlock() == baseBlock(under: (zeros(100), 5000), (filled(0x22, 50), 200)))
  }

  @Test func `a whole-block write is not lost to zeroing a part of the block`() throws {
    let whole = filled(0xAA, Self.blockSize)
    try hold {
      try $0.zero(Self.start + 5000..<Self.start + 5100)
    } while: {
      try $0.write(whole, at: Self.start)
    }
    let found = try secondBlock()
    var zeroLater = whole
    copy(zeros(100)[...], into: &zeroLater, at: 5000)
    #expect(found == whole || found == zeroLater)
  }

  // MARK: The border of two stretches

  /// A write over the border, held in the copy-up of its last block, which is under the next stretch's lock.
  @Test(arguments: [false, true])
  func `a write over the border of two stretches does not undo a partial write behind it`(isZeroed: Bool) throws {
    let (hold, border) = (hold, UInt64(1 << 20))
    let base = TestBase(pattern(2 << 20), beforeRead: { if $0 == border + 100 { hold.pass() } })
    let disk = try makeDisk(over: base, blockSize: Self.blockSize)
    hold.arm()
    let first = TestThread { try disk.write(filled(0x11, 200), at: border - 100) }
    #expect(hold.isHolding(), "nothing was copied up")
    let second = TestThread {
      if isZeroed {
        try disk.zero(border + 5000..<border + 5050)
      } else {
        try disk.write(filled(0x22, 50), at: border + 5000)
      }
    }
    second.giveMoment()
    hold.release()
    try first.join()
    try second.join()
    var expected = base.bytes
    copy(filled(0x11, 200)[...], into: &expected, at: Int(border) - 100)
    copy(filled(isZeroed ? 0 : 0x22, 50)[...], into: &expected, at: Int(border) + 5000)
    #expect(difference(try disk.contents(), expected) == nil)
    try disk.expectSound()
  }

  // MARK: What must not wait

  @Test func `a read does not wait for a copy-up, and sees the block as it was`() throws {
    let expected = base.bytes
    try hold(
      { try $0.write(filled(0x11, 100), at: Self.start + 5000) }, mayWait: false
    ) { disk in
      let (read, gathered) = (try disk.contents(), try disk.gatheredBytes(0..<disk.size))
      try check(read == expected && gathered == expected, "the read saw a part of the write")
      let extent = try disk.extent(at: 0)
      try check(extent == Extent(isData: true, end: disk.size), "\(extent)")
    }
    #expect(try secondBlock() == baseBlock(under: (filled(0x11, 100), 5000)))
  }

  @Test func `a write in place does not wait for a copy-up in the same stretch`() throws {
    try disk.write(filled(0x33, Self.blockSize), at: 0)
    try hold(
      { try $0.write(filled(0x11, 100), at: Self.start + 5000) }, mayWait: false
    ) { disk in
      try disk.write(filled(0x44, 300), at: 77)
      let found = try disk.bytes(77..<377)
      try check(found == filled(0x44, 300), "the write in place is not there")
    }
  }

  @Test func `a first write in another stretch does not wait for a copy-up`() throws {
    let hold = hold
    let disk = try makeDisk(
      over: TestBase(pattern(3 << 20), beforeRead: { _ in hold.pass() }), blockSize: Self.blockSize)
    hold.arm()
    let held = TestThread { try disk.write([1], at: 100) }
    #expect(hold.isHolding())
    let other = TestThread { try disk.write([2], at: 2 << 20) }
    #expect(other.finishes(), "the write waited")
    hold.release()
    try held.join()
    try other.join()
    #expect(try disk.bytes(100..<101) == [1] && disk.bytes(2 << 20..<2 << 20 + 1) == [2])
  }
}
