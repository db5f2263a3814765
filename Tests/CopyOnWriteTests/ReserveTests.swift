// Reserving space: the promise of fallocate(2) that writing will not fail for want of it.

import DiskIO
import Synchronization
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

  @Test(canMount) func `a reservation that fails leaves an earlier one alone`() throws {
    let small = try TinyFileSystem(bytes: 2 << 20)
    let disk = try makeDisk(over: base, in: small.path)
    try disk.reserve(0..<1 << 20)
    let used = try disk.usedSpace()
    // It overlaps the first, and what it needs beside that is not there.
    #expect(throws: Errno.noSpace) { try disk.reserve(1 << 19..<Self.size) }
    #expect(try disk.usedSpace() == used)
    #expect(disk.reserved.allocated == 1 << 20 / 4096)
    let ballast = try small.ballast(leaving: 0)
    try disk.write(filled(7, 1 << 20), at: 0)
    _ = consume ballast
  }

  @Test func `what is trimmed is set aside no longer`() throws {
    let disk = try makeDisk(over: base, options: .init(maxOverlay: Self.size))
    try disk.reserve(0..<Self.size)
    #expect(disk.reserved.allocated == Self.size / 4096)
    try disk.zero(0..<1 << 20)
    #expect(disk.reserved.allocated == (Self.size - 1 << 20) / 4096)
    let used = try disk.usedSpace()
    try disk.reserve(0..<1 << 20)
    #expect(try disk.usedSpace() >= used + 1 << 20)
  }

  @Test func `a first write that fails as the base does leaves what was set aside`() throws {
    let isBroken = Atomic(false)
    let base = TestBase(
      pattern(Int(Self.size)),
      beforeRead: { (_) throws(Errno) in if isBroken.load(ordering: .sequentiallyConsistent) { throw .ioError } })
    let disk = try makeDisk(over: base, blockSize: 65536)
    try disk.reserve(65536..<3 * 65536)
    let used = try disk.usedSpace()
    isBroken.store(true, ordering: .sequentiallyConsistent)
    #expect(throws: Errno.ioError) { try disk.write([1], at: 65536 + 100) }
    #expect(throws: Errno.ioError) { try disk.write(filled(1, 65536), at: 65536 + 100) }
    // The other half of this one had nothing set aside, and gets nothing.
    #expect(throws: Errno.ioError) { try disk.write(filled(1, 65536), at: 3 * 65536 - 100) }
    #expect(try disk.usedSpace() == used)
  }

  @Test func `where nothing can be set aside, that is said`() throws {
    let disk = try makeDisk(over: base, access: .plain)
    #expect(throws: Errno.notSupportedOnSocket) { try disk.reserve(0..<4096) }
    #expect(throws: Errno.notSupportedOnSocket) { try disk.reserve(0..<2 * Self.size, growing: true) }
    #expect(disk.size == Self.size)
  }

  // MARK: Growing

  @Test func `what is set aside beyond the end makes the disk grow, and is there`() throws {
    let disk = try makeDisk(over: base)
    try disk.reserve(Self.size - 100..<2 * Self.size + 5, growing: true)
    #expect(disk.size == 2 * Self.size + 5)
    #expect(try disk.usedSpace() >= Self.size)
    #expect(difference(try disk.contents(), base.bytes + zeros(Int(Self.size) + 5)) == nil)
    // To at least.
    try disk.reserve(0..<4096, growing: true)
    try disk.zero(0..<4096, growing: true)
    #expect(disk.size == 2 * Self.size + 5)
    try disk.zero(disk.size - 10..<3 * Self.size, growing: true)
    #expect(disk.size == 3 * Self.size)
  }

  @Test func `far beyond the end space can be set aside, too`() throws {
    let disk = try makeDisk(over: base)
    let place: UInt64 = 5 << 30
    try disk.reserve(place..<place + 4096, growing: true)
    #expect(disk.size == place + 4096 && disk.reserved.allocated == 1)
    try disk.resize(to: 2 * place)
    try disk.reserve(2 * place - 4096..<2 * place)
    try disk.write([7], at: 2 * place - 1)
    #expect(try disk.bytes(2 * place - 2..<2 * place) == [0, 7])
    try disk.expectSound()
  }

  @Test func `without growing, what lies beyond the end is left out`() throws {
    let disk = try makeDisk(over: base)
    try disk.reserve(Self.size - 4096..<2 * Self.size)
    try disk.reserve(2 * Self.size..<3 * Self.size)
    try disk.zero(Self.size - 10..<2 * Self.size)
    try disk.zero(2 * Self.size..<3 * Self.size)
    #expect(disk.size == Self.size)
    #expect(try disk.usedSpace() < 65536)
    #expect(try disk.bytes(Self.size - 11..<Self.size) == base.bytes.suffix(11).prefix(1) + zeros(10))
  }

  @Test func `a size that no file can have is too large, and nothing is set aside`() throws {
    let disk = try makeDisk(over: base)
    for end in [UInt64(Int64.max), 1 << 63, .max] {
      #expect(throws: Errno.fileTooLarge) { try disk.reserve(end - 4096..<end, growing: true) }
      #expect(throws: Errno.fileTooLarge) { try disk.zero(0..<end, growing: true) }
    }
    #expect(disk.size == Self.size && disk.reserved.allocated == 0)
    #expect(difference(try disk.contents(), base.bytes) == nil)
  }

  @Test(canMount, arguments: [nil, 1 << 20] as [UInt64?])
  func `a growing reservation that fails leaves the size`(limit: UInt64?) throws {
    let small = try TinyFileSystem(bytes: 2 << 20)
    let disk = try makeDisk(over: base, options: .init(maxOverlay: limit), in: small.path)
    #expect(throws: Errno.noSpace) { try disk.reserve(0..<2 * Self.size, growing: true) }
    #expect(disk.size == Self.size)
    #expect(try disk.usedSpace() == 0)
  }
}
