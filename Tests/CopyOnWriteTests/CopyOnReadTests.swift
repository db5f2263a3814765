// Reads that copy: the base is asked once for each block, copies are no changes, and nothing fails for want of them.

import Synchronization
import SystemPackage
import Testing

@testable import CopyOnWrite

@Suite struct CopyOnReadTests {
  private static let size = 1 << 20
  private static let blockSize = 16384
  private let base = TestBase(pattern(size - 700))

  private func disk(
    over base: TestBase? = nil, blockSize: Int = blockSize, access: StoreAccess = .mapped, limit: UInt64? = nil,
    when copyOnRead: CowDisk.CopyOnRead = .always
  ) throws -> CowDisk {
    try makeDisk(
      over: base ?? self.base, blockSize: blockSize, access: access,
      options: .init(maxOverlay: limit, copyOnRead: copyOnRead))
  }

  // MARK: What is copied

  @Test(arguments: StoreAccess.allCases)
  func `a second read needs no base`(access: StoreAccess) throws {
    let disk = try disk(access: access)
    #expect(difference(try disk.contents(), base.bytes) == nil)
    #expect(base.bytesRead == base.bytes.count)
    let reads = base.reads
    #expect(difference(try disk.contents(), base.bytes) == nil)
    #expect(difference(try disk.gatheredBytes(0..<disk.size), base.bytes) == nil)
    #expect(base.reads == reads)
    #expect(disk.cachedBytes == UInt64(Self.size) && disk.allocatedBytes == 0)
  }

  @Test func `without the option nothing is copied`() throws {
    let disk = try disk(when: .never)
    for _ in 0..<2 { #expect(difference(try disk.contents(), base.bytes) == nil) }
    #expect(base.bytesRead == 2 * base.bytes.count)
    let used = try disk.usedSpace()
    #expect(disk.cachedBytes == 0 && used < 65536)
  }

  @Test func `blocks are copied as a whole, in one read of the base`() throws {
    let disk = try disk()
    // Parts of three blocks.
    let range = UInt64(Self.blockSize) - 10..<UInt64(3 * Self.blockSize) - 5000
    #expect(try disk.bytes(range) == Array(base.bytes[Int(range.lowerBound)..<Int(range.upperBound)]))
    #expect(base.reads == 1 && base.bytesRead == 3 * Self.blockSize)
    #expect(try disk.bytes(0..<UInt64(3 * Self.blockSize)) == Array(base.bytes[..<(3 * Self.blockSize)]))
    #expect(base.reads == 1)
    // The last block is a short one.
    #expect(try disk.bytes(disk.size - 5..<disk.size) == Array(base.bytes.suffix(5)))
    #expect(base.reads == 2 && base.bytesRead == 4 * Self.blockSize - 700)
    #expect(try disk.bytes(disk.size - 9000..<disk.size - 3) == Array(base.bytes.suffix(9000).dropLast(3)))
    #expect(base.reads == 2)
  }

  @Test func `only what the overlay does not have is asked for`() throws {
    let disk = try disk()
    let block = UInt64(Self.blockSize)
    try disk.write(filled(7, Self.blockSize), at: block)
    try disk.zero(3 * block..<4 * block)
    let expected =
      base.bytes[..<Self.blockSize] + filled(7, Self.blockSize)
      + base.bytes[(2 * Self.blockSize)..<(3 * Self.blockSize)] + zeros(Self.blockSize)
    for _ in 0..<2 { #expect(try disk.bytes(0..<4 * block) == Array(expected)) }
    #expect(base.bytesRead == 2 * Self.blockSize)
    #expect(disk.cachedBytes == 2 * block && disk.allocatedBytes == block)
  }

  @Test func `holes are neither asked for nor copied, and stay holes`() throws {
    // From the middle of a block to the middle of another.
    let hole = UInt64(100_000)..<UInt64(500_000)
    let base = TestBase(pattern(Self.size), holes: [hole])
    let disk = try disk(over: base)
    let before = try extents(of: disk)
    for _ in 0..<2 { #expect(difference(try disk.contents(), base.bytes) == nil) }
    let whole = Int(hole.upperBound) / Self.blockSize - (Int(hole.lowerBound) + Self.blockSize - 1) / Self.blockSize
    #expect(base.bytesRead == Self.size - whole * Self.blockSize)
    #expect(try extents(of: disk) == before)
    #expect(before.contains(Extent(isData: false, end: hole.upperBound)))
    #expect(try disk.usedSpace() < UInt64(Self.size - whole * Self.blockSize) + 65536)
  }

  private func extents(of disk: CowDisk) throws -> [Extent] {
    var extents: [Extent] = []
    while (extents.last?.end ?? 0) < disk.size { extents.append(try disk.extent(at: extents.last?.end ?? 0)) }
    return extents
  }

  @Test func `copies are made as long as the condition holds`() throws {
    let flag = Flag()
    let disk = try disk(when: .asLongAs { flag.isSet })
    for (isSet, copies) in [(false, 0), (true, 1), (false, 1)] {
      flag.isSet = isSet
      #expect(try disk.bytes(0..<100) == Array(base.bytes[..<100]))
      #expect(disk.cachedBytes == UInt64(copies * Self.blockSize))
    }
    // What was copied while it held stays of use.
    #expect(base.reads == 2 && base.bytesRead == 100 + Self.blockSize)
  }

  // MARK: Copies that are written, trimmed, cut

  @Test(arguments: StoreAccess.allCases)
  func `a write to a copy needs no base, and keeps what it does not write`(access: StoreAccess) throws {
    let disk = try disk(access: access, limit: 1 << 21)
    _ = try disk.contents()
    let reads = base.reads
    try disk.write(filled(7, 100), at: 20_000)
    var expected = base.bytes
    copy(filled(7, 100)[...], into: &expected, at: 20_000)
    #expect(difference(try disk.contents(), expected) == nil)
    #expect(base.reads == reads)
    #expect(disk.allocatedBytes == UInt64(Self.blockSize))
    #expect(disk.cachedBytes == UInt64(Self.size - Self.blockSize))
    #expect(disk.limit.left == 1 << 21 - 1 << 20)
  }

  @Test func `a copy that is trimmed is zeros, and its space is free`() throws {
    let disk = try disk(limit: 1 << 21)
    _ = try disk.contents()
    try disk.zero(0..<1 << 19)
    try disk.zero(1 << 19 + 100..<1 << 19 + 200)
    var expected = zeros(1 << 19) + base.bytes[(1 << 19)...]
    copy(zeros(100)[...], into: &expected, at: 1 << 19 + 100)
    #expect(difference(try disk.contents(), expected) == nil)
    #expect(disk.allocatedBytes == UInt64(Self.blockSize))
    #expect(disk.cachedBytes == UInt64(Self.size / 2 - Self.blockSize))
    #expect(try disk.usedSpace() < 1 << 19 + 65536)
    try disk.zero(0..<disk.size)
    #expect(disk.cachedBytes == 0 && disk.limit.left == 1 << 21)
  }

  @Test(arguments: [1, 5000, blockSize, 3 * blockSize + 1])
  func `a copy that is cut does not come back`(cut: Int) throws {
    let disk = try disk(limit: 1 << 21)
    _ = try disk.contents()
    try disk.resize(to: UInt64(cut))
    #expect(disk.cachedBytes == disk.geometry.roundedUp(UInt64(cut)))
    try disk.resize(to: UInt64(Self.size))
    let expected = base.bytes[..<cut] + zeros(Self.size - cut)
    for _ in 0..<2 { #expect(difference(try disk.contents(), Array(expected)) == nil) }
    #expect(disk.limit.left == 1 << 21 - disk.cachedBytes)
  }

  @Test func `a reservation leaves copies alone`() throws {
    let disk = try disk()
    _ = try disk.bytes(0..<1 << 19)
    try disk.reserve(0..<disk.size)
    #expect(disk.cachedBytes == 1 << 19)
    #expect(difference(try disk.contents(), base.bytes) == nil)
  }

  // MARK: What goes wrong

  @Test func `a base that fails elsewhere in the block does not fail the read`() throws {
    let bad = UInt64(2 * Self.blockSize)..<UInt64(3 * Self.blockSize)
    let base = TestBase(
      pattern(Self.size),
      beforeRead: { (offset) throws(Errno) in
        // All reads from the block's beginning, which are those of the whole block.
        if offset == bad.lowerBound { throw .ioError }
      })
    let disk = try disk(over: base)
    let good = bad.lowerBound + 100..<bad.lowerBound + 300
    #expect(try disk.bytes(good) == Array(base.bytes[Int(good.lowerBound)..<Int(good.upperBound)]))
    #expect(disk.cachedBytes == 0)
    #expect(throws: Errno.ioError) { try disk.bytes(bad) }
    #expect(try disk.bytes(0..<bad.lowerBound) == Array(base.bytes[..<Int(bad.lowerBound)]))
  }

  @Test func `a base that cannot tell its holes is read and copied`() throws {
    let base = TestBase(
      pattern(Self.size), holes: [0..<65536], beforeExtent: { (_) throws(Errno) in throw .ioError })
    let disk = try disk(over: base)
    for _ in 0..<2 { #expect(difference(try disk.contents(), base.bytes) == nil) }
    #expect(base.bytesRead == Self.size)
  }

  @Test(arguments: StoreAccess.allCases)
  func `at the limit reads go on, and writes make copies give way`(access: StoreAccess) throws {
    let limit = UInt64(20 * Self.blockSize)
    let disk = try disk(access: access, limit: limit)
    for _ in 0..<2 { #expect(difference(try disk.contents(), base.bytes) == nil) }
    #expect(disk.cachedBytes > limit / 2 && disk.cachedBytes <= limit - disk.spareSpace)
    // Copies are no reason for less to be writable, nor for a fuller disk to be told.
    #expect(try disk.availableSpace() == limit)
    var expected = base.bytes
    for block in stride(from: 63, to: 43, by: -1) {
      let bytes = pattern(block == 63 ? 100 : Self.blockSize, salt: UInt64(block))
      try disk.write(bytes, at: UInt64(block * Self.blockSize))
      copy(bytes[...], into: &expected, at: block * Self.blockSize)
      #expect(difference(try disk.contents(), expected) == nil)
      #expect(disk.limit.left + disk.allocatedBytes + disk.cachedBytes == limit)
    }
    #expect(disk.cachedBytes == 0 && disk.allocatedBytes == limit)
    #expect(throws: Errno.noSpace) { try disk.write([1], at: 0) }
    #expect(difference(try disk.contents(), expected) == nil)
  }

  @Test func `copies leave a sixteenth of the space, but no more than anybody needs in a hurry`() throws {
    #expect(CowDisk.spareSpace(of: 0) == 0)
    #expect(CowDisk.spareSpace(of: 16 << 20) == 1 << 20)
    #expect(CowDisk.spareSpace(of: 4 << 30) == 256 << 20)
    #expect(CowDisk.spareSpace(of: .max) == 256 << 20)
    let disk = try disk(limit: 1 << 20)
    _ = try disk.contents()
    // They come in pieces of up to 128 KiB.
    #expect((13 << 16...15 << 16).contains(disk.cachedBytes))
    #expect(try disk.spaceForCopies() == 15 << 16 - disk.cachedBytes)
  }

  @Test func `what was set aside stays so while copies give way`() throws {
    let disk = try disk(limit: UInt64(8 * Self.blockSize))
    _ = try disk.bytes(0..<UInt64(4 * Self.blockSize))
    try disk.reserve(0..<UInt64(4 * Self.blockSize))
    let used = try disk.usedSpace()
    try disk.write(pattern(8 * Self.blockSize, salt: 5), at: UInt64(20 * Self.blockSize))
    #expect(disk.cachedBytes == 0)
    #expect(try disk.usedSpace() >= used + UInt64(8 * Self.blockSize))
    #expect(difference(try disk.bytes(0..<65536), Array(base.bytes[..<65536])) == nil)
  }

  @Test(.enabled(if: TinyFileSystem.isAvailable, "a file system can be mounted"), arguments: [false, true])
  func `copies do not fill a file system, and give way where others do`(isReservedAround: Bool) throws {
    let small = try TinyFileSystem(bytes: 1 << 19)
    let disk = try makeDisk(
      over: base, blockSize: Self.blockSize, options: .init(copyOnRead: .always), in: small.path)
    if isReservedAround {
      // What lies between reservations is not reserved, nor is what could not be.
      #expect(throws: Errno.noSpace) { try disk.reserve(0..<disk.size) }
      try disk.reserve(0..<1)
      try disk.reserve(disk.size - 1..<disk.size)
    }
    for _ in 0..<2 { #expect(difference(try disk.contents(), base.bytes) == nil) }
    #expect(disk.cachedBytes > 1 << 18)
    #expect(try small.free() >= disk.spareSpace)
    let ballast = try small.ballast(leaving: 0)
    let copies = disk.cachedBytes
    // All that copies took can be written to, but for what the file system needs itself.
    let bytes = pattern(Int(copies) - 2 * Self.blockSize, salt: 9)
    try disk.write(bytes, at: UInt64(Self.size) - copies)
    #expect(
      difference(try disk.bytes(UInt64(Self.size) - copies..<UInt64(Self.size) - UInt64(2 * Self.blockSize)), bytes)
        == nil)
    _ = consume ballast
  }
}

/// A flag that a closure looks at.
private final class Flag: Sendable {
  private let flag = Atomic(false)

  var isSet: Bool {
    get { flag.load(ordering: .sequentiallyConsistent) }
    set { flag.store(newValue, ordering: .sequentiallyConsistent) }
  }
}
