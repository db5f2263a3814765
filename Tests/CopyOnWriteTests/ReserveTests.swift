// Reserving space: the promise of fallocate(2) that writing will not fail for want of it.

import DiskIO
import SystemPackage
import Testing

@testable import CopyOnWrite

@Suite struct ReserveTests {
  private static let size: UInt64 = 4 << 20
  private let base = TestBase(pattern(Int(size)))

  @Test func `reserving takes space and changes nothing that can be read`() throws {
    let disk = try makeDisk(over: base)
    try disk.write([1], at: 5000)
    let before = try disk.contents()
    let used = try disk.usedSpace()
    try disk.reserve(4000..<1 << 20)
    #expect(try disk.usedSpace() >= used + 1 << 20 - 2 * 4096)
    #expect(disk.allocatedBytes == 4096)
    #expect(difference(try disk.contents(), before) == nil)
    #expect(try disk.extent(at: 0) == Extent(isData: true, end: Self.size))
  }

  @Test func `trimming gives reserved space back, over data and over holes of the base`() throws {
    for holes in [[], [0..<Self.size]] {
      let disk = try makeDisk(over: TestBase(pattern(Int(Self.size)), holes: holes))
      try disk.reserve(0..<Self.size)
      #expect(try disk.usedSpace() >= Self.size)
      try disk.zero(0..<Self.size)
      // A few blocks may stay with the file system's own bookkeeping.
      #expect(try disk.usedSpace() < 65536)
      #expect(try disk.contents() == zeros(Int(Self.size)))
    }
  }

  @Test func `cutting the disk off gives reserved space back`() throws {
    let disk = try makeDisk(over: base)
    try disk.reserve(0..<Self.size)
    try disk.resize(to: 4096)
    #expect(try disk.usedSpace() < 65536 + 4096)
  }

  @Test func `an empty reservation is none, and a new disk takes no space`() throws {
    let disk = try makeDisk(over: base, blockSize: 1 << 20)
    try disk.reserve(100..<100)
    try disk.reserve(Self.size..<Self.size)
    #expect(try disk.usedSpace() < 65536)
  }

  // MARK: Where space is short

  private static let canMount: ConditionTrait = .enabled(
    if: TinyFileSystem.isAvailable, "a file system can be mounted")

  @Test(canMount) func `what is reserved can be written when the file system is full`() throws {
    let small = try TinyFileSystem(bytes: 2 << 20)
    let disk = try makeDisk(over: base, blockSize: 16384, in: small.path)
    try disk.reserve(0..<1 << 20)
    let ballast = try small.ballast(leaving: 0)
    try disk.write(filled(7, 1 << 20), at: 0)
    #expect(throws: Errno.noSpace) { try disk.write([1], at: 1 << 20) }
    #expect(try disk.bytes(0..<1 << 20) == filled(7, 1 << 20))
    _ = consume ballast
  }

  @Test(canMount) func `a reservation that does not fit is refused and sets nothing aside`() throws {
    let small = try TinyFileSystem(bytes: 2 << 20)
    let disk = try makeDisk(over: base, in: small.path)
    let free = try small.free()
    #expect(throws: Errno.noSpace) { try disk.reserve(0..<Self.size) }
    #expect(try small.free() == free)
    #expect(try disk.usedSpace() == 0)
    try disk.write([1], at: 0)
  }

  @Test(canMount) func `what is reserved already needs no more space when it is reserved again`() throws {
    let small = try TinyFileSystem(bytes: 2 << 20)
    let disk = try makeDisk(over: base, in: small.path)
    try disk.reserve(0..<3 << 19)
    try disk.reserve(0..<3 << 19)
    let ballast = try small.ballast(leaving: 0)
    try disk.reserve(0..<3 << 19)
    try disk.write(filled(1, 3 << 19), at: 0)
    _ = consume ballast
  }
}
