// A base that cannot be read: the caller is told, nothing has changed, and when the base can be read again, all goes on.

import Synchronization
import SystemPackage
import Testing

@testable import CopyOnWrite

@Suite struct BaseErrorTests {
  private static let blockSize: UInt64 = 16384

  /// Breaks accesses to a base: the next `spared` pass, all later ones fail until it is mended.
  private final class Fault: Sendable {
    private let left = Atomic(Int.max)

    func breakBase(sparing spared: Int = 0) { left.store(spared, ordering: .sequentiallyConsistent) }
    func mend() { left.store(.max, ordering: .sequentiallyConsistent) }

    func pass() throws(Errno) {
      let left = left.load(ordering: .sequentiallyConsistent)
      if left == 0 { throw .ioError }
      if left < .max { self.left.subtract(1, ordering: .sequentiallyConsistent) }
    }
  }

  private let fault = Fault()
  private let base: TestBase
  private let disk: CowDisk

  init() throws {
    let fault = fault
    base = TestBase(
      pattern(Int(4 * Self.blockSize)), beforeRead: { (_) throws(Errno) in try fault.pass() },
      beforeExtent: { (_) throws(Errno) in try fault.pass() })
    disk = try makeDisk(over: base, blockSize: Int(Self.blockSize))
  }

  /// Expects `body` to fail with EIO and to leave the disk as it was.
  private func expectNoChange(_ body: () throws -> Void) throws {
    let used = try disk.usedSpace()
    let allocated = disk.allocatedBytes
    let error = #expect(throws: Errno.self) { try body() }
    #expect(error == .ioError)
    fault.mend()
    // Less than a block: file systems have their own bookkeeping.
    #expect(try disk.usedSpace() < used + Self.blockSize)
    #expect(disk.allocatedBytes == allocated)
  }

  /// Copy-up reads what is before the written bytes, then what is after them; either may fail.
  @Test(arguments: [0, 1])
  func `a partial write fails as the base does, changes nothing, and works later`(spared: Int) throws {
    fault.breakBase(sparing: spared)
    try expectNoChange { try disk.write([1, 2, 3], at: Self.blockSize + 100) }
    #expect(try disk.contents() == base.bytes)

    try disk.write([1, 2, 3], at: Self.blockSize + 100)
    var expected = base.bytes
    copy([1, 2, 3], into: &expected, at: Int(Self.blockSize) + 100)
    #expect(try disk.contents() == expected)
  }

  @Test(arguments: [0, 1])
  func `a write over several blocks leaves each block old or new`(spared: Int) throws {
    let written = filled(7, Int(2 * Self.blockSize))
    let start = Self.blockSize / 2
    fault.breakBase(sparing: spared)
    #expect(throws: Errno.ioError) { try disk.write(written, at: start) }
    fault.mend()
    var new = base.bytes
    copy(written[...], into: &new, at: Int(start))
    let found = try disk.contents()
    for block in 0..<4 {
      let range = block * Int(Self.blockSize)..<(block + 1) * Int(Self.blockSize)
      #expect(found[range] == base.bytes[range] || found[range] == new[range], "block \(block)")
    }
    try disk.write(written, at: start)
    #expect(try disk.contents() == new)
  }

  @Test func `zeroing a part of a block fails as the base does, changes nothing, and works later`() throws {
    // The first access is the question whether there is data at all.
    for spared in [0, 1, 2] {
      fault.breakBase(sparing: spared)
      try expectNoChange { try disk.zero(100..<200) }
      #expect(try disk.contents() == base.bytes)
    }
    try disk.zero(100..<200)
    #expect(try disk.bytes(0..<300) == base.bytes[..<100] + zeros(100) + base.bytes[200..<300])
  }

  @Test func `a trim that cannot learn where the base has holes fails and changes nothing`() throws {
    fault.breakBase()
    try expectNoChange { try disk.zero(0..<Self.blockSize) }
    #expect(try disk.contents() == base.bytes)
    try disk.zero(0..<Self.blockSize)
    #expect(try disk.bytes(0..<Self.blockSize) == zeros(Int(Self.blockSize)))
  }

  @Test func `extents are not made up where the base cannot tell them`() throws {
    fault.breakBase()
    #expect(throws: Errno.ioError) { try disk.extent(at: 0) }
    fault.mend()
    #expect(try disk.extent(at: 0) == Extent(isData: true, end: disk.size))
  }

  @Test func `a read fails as the base does, and is never zeros instead`() throws {
    fault.breakBase()
    #expect(throws: Errno.ioError) { try disk.contents() }
    #expect(throws: Errno.ioError) { try disk.gatheredBytes(5..<6) }
    fault.mend()
    #expect(try disk.contents() == base.bytes)
  }

  @Test func `what the overlay has all of needs no base`() throws {
    try disk.write([9], at: 0)
    fault.breakBase()
    try disk.write(filled(1, 100), at: 50)
    try disk.write(filled(2, Int(Self.blockSize)), at: Self.blockSize)
    #expect(try disk.bytes(50..<150) == filled(1, 100))
    #expect(try disk.bytes(Self.blockSize..<2 * Self.blockSize) == filled(2, Int(Self.blockSize)))
    try disk.resize(to: 2 * Self.blockSize)
    try disk.resize(to: 4 * Self.blockSize)
    #expect(try disk.bytes(2 * Self.blockSize..<4 * Self.blockSize) == zeros(Int(2 * Self.blockSize)))
  }
}
