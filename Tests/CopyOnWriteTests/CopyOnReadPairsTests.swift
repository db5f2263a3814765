// A read that copies, held while it waits for the base, and another verb that comes to the same block meanwhile. Nobody
// but another reader of the block waits for it, and what the other verb did is not undone when the copy is stored.

import TestSupport
import Testing

@testable import CopyOnWrite

@Suite struct CopyOnReadPairsTests {
  private static let blockSize = 16384
  private static let start = UInt64(blockSize)
  private let base: TestBase
  private let hold = Hold()
  private let disk: CowDisk

  init() throws {
    let hold = hold
    base = TestBase(pattern(4 * Self.blockSize), beforeRead: { _ in hold.pass() })
    disk = try makeDisk(over: base, blockSize: Self.blockSize, options: .init(copyOnRead: .always))
  }

  private static let block = Int(start)..<2 * blockSize
  private var baseBlock: [UInt8] { Array(base.bytes[Self.block]) }

  /// Holds a read of the whole second block, or of a part of it, runs `verb` to its end, and lets the read end.
  private func holdRead(
    of part: Range<UInt64> = start..<2 * start, while verb: @escaping @Sendable (CowDisk) throws -> Void
  ) throws {
    let (disk, base) = (disk, base)
    hold.arm()
    let read = TestThread {
      let found = try disk.bytes(part)
      let expected = Array(base.bytes[Int(part.lowerBound)..<Int(part.upperBound)])
      // The read began before anything else, and may count as the first.
      try check(found == expected, "the read saw \(difference(found, expected) ?? "")")
    }
    #expect(hold.isHolding(), "nobody asked the base")
    let other = TestThread { try verb(disk) }
    #expect(other.finishes(), "it waited for the read")
    hold.release()
    try read.join()
    try other.join()
    try disk.expectSound()
  }

  private func expect(
    block expected: [UInt8], isCached: Bool = false, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    var all = base.bytes
    copy(expected[...], into: &all, at: Self.block.lowerBound)
    let state = disk.map.state(of: 1)
    #expect((state == .cached) == isCached, "it is \(state)", sourceLocation: sourceLocation)
    for _ in 0..<2 {
      #expect(difference(try disk.contents(), all) == nil, sourceLocation: sourceLocation)
    }
  }

  /// What nbdkit's copy-on-read loses.
  @Test(arguments: [start..<2 * start, start + 100..<start + 200])
  func `a whole-block write is not lost`(part: Range<UInt64>) throws {
    let whole = filled(0xAA, Self.blockSize)
    try holdRead(of: part) { try $0.write(whole, at: Self.start) }
    try expect(block: whole)
    #expect(disk.allocatedBytes == UInt64(Self.blockSize))
  }

  @Test func `a write of many blocks is not lost`() throws {
    let all = filled(0xAA, 4 * Self.blockSize)
    try holdRead { try $0.write(all, at: 0) }
    #expect(try disk.contents() == all)
    #expect(disk.cachedBytes == 0)
  }

  @Test func `a partial write is not lost, nor what it copied up`() throws {
    try holdRead { try $0.write(filled(0x11, 100), at: Self.start + 5000) }
    var block = baseBlock
    copy(filled(0x11, 100)[...], into: &block, at: 5000)
    try expect(block: block)
  }

  @Test func `a trim is not undone`() throws {
    try holdRead { try $0.zero(Self.start..<2 * Self.start) }
    try expect(block: zeros(Self.blockSize))
    #expect(disk.allocatedBytes == 0)
    #expect(try disk.extent(at: Self.start) == Extent(isData: false, end: 2 * Self.start))
  }

  @Test func `zeroing a part is not undone`() throws {
    try holdRead { try $0.zero(Self.start + 5000..<Self.start + 5100) }
    var block = baseBlock
    copy(zeros(100)[...], into: &block, at: 5000)
    try expect(block: block)
  }

  @Test(arguments: [0, start, start + 1, start + 8000])
  func `what is cut off does not come back`(cut: UInt64) throws {
    let size = disk.size
    try holdRead {
      try $0.resize(to: cut)
      try $0.resize(to: size)
    }
    let expected = base.bytes[..<Int(cut)] + zeros(Int(size - cut))
    for _ in 0..<2 { #expect(difference(try disk.contents(), Array(expected)) == nil) }
  }

  @Test func `a disk that grows has the copy and zeros`() throws {
    let size = disk.size
    try holdRead { try $0.resize(to: 2 * size) }
    #expect(disk.map.state(of: 1) == .cached)
    #expect(difference(try disk.contents(), base.bytes + zeros(Int(size))) == nil)
  }

  @Test func `a read of another block does not wait`() throws {
    let expected = Array(base.bytes[..<Self.blockSize])
    try holdRead { try check(try $0.bytes(0..<Self.start) == expected, "the other block is wrong") }
    try expect(block: baseBlock, isCached: true)
  }

  @Test func `readers of the same block ask the base for it once`() throws {
    let (disk, base) = (disk, base)
    hold.arm()
    let readers = (0..<3).map { index in
      TestThread {
        let part = Self.start + UInt64(index * 5000)..<Self.start + UInt64(index * 5000 + 4000)
        let found = try disk.bytes(part)
        try check(found == Array(base.bytes[Int(part.lowerBound)..<Int(part.upperBound)]), "reader \(index)")
      }
    }
    #expect(hold.isHolding(), "nobody asked the base")
    readers[0].giveMoment()
    hold.release()
    for reader in readers { try reader.join() }
    #expect(base.reads == 1 && base.bytesRead == Self.blockSize)
  }

  @Test func `a reader whose copy nobody makes in the end reads by itself`() throws {
    // The first one's copy is refused under the lock, because less of the base can be seen.
    let (disk, base) = (disk, base)
    hold.arm()
    let first = TestThread { _ = try disk.bytes(Self.start..<2 * Self.start) }
    #expect(hold.isHolding())
    let second = TestThread {
      let found = try disk.bytes(Self.start..<Self.start + 1000)
      try check(found == Array(base.bytes[Self.block].prefix(1000)), "the second is wrong")
    }
    second.giveMoment()
    try disk.resize(to: Self.start + 5000)
    hold.release()
    try first.join()
    try second.join()
    #expect(try disk.bytes(0..<disk.size) == Array(base.bytes[..<Int(Self.start + 5000)]))
  }

  /// At 0, the write's own bytes are stored already when it is held.
  @Test(arguments: [0, 5000])
  func `a copy-up and a copy of one block do not disturb each other`(place: Int) throws {
    // The write is held, with the lock; the read brings its bytes and waits to store them.
    let (disk, base) = (disk, base)
    hold.arm()
    let write = TestThread { try disk.write(filled(0x11, 100), at: Self.start + UInt64(place)) }
    #expect(hold.isHolding())
    let read = TestThread {
      let found = try disk.bytes(Self.start..<2 * Self.start)
      var written = Array(base.bytes[Self.block])
      copy(filled(0x11, 100)[...], into: &written, at: place)
      try check(found == Array(base.bytes[Self.block]) || found == written, "the read saw neither")
    }
    read.giveMoment()
    hold.release()
    try write.join()
    try read.join()
    var block = baseBlock
    copy(filled(0x11, 100)[...], into: &block, at: place)
    try expect(block: block)
  }
}
