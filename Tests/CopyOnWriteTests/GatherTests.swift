// Reads as lists of vectors: few of them, nothing copied that need not be, and never more than the promised number.

import DiskIO
import Glibc
import Testing

@testable import CopyOnWrite

@Suite struct GatherTests {
  private static let size: UInt64 = 4 << 20
  private let base = TestBase(pattern(Int(size)))

  @Test func `a read of one kind of blocks is one vector`() throws {
    let disk = try makeDisk(over: base)
    #expect(try Gathered(disk, 100..<1 << 20).vectors.count == 1)
    try disk.write(filled(7, 1 << 20), at: 0)
    #expect(try Gathered(disk, 100..<1 << 20).vectors.count == 1)
    try disk.zero(0..<1 << 20)
    #expect(try Gathered(disk, 100..<1 << 20).vectors.count == 1)
  }

  @Test func `a read of nothing has no vectors`() throws {
    let disk = try makeDisk(over: base)
    #expect(try Gathered(disk, 5..<5).vectors.isEmpty)
    #expect(try Gathered(disk, Self.size..<Self.size).vectors.isEmpty)
  }

  @Test func `mapped overlay bytes are not copied: a later write shows in them`() throws {
    let disk = try makeDisk(over: base)
    try disk.write(filled(7, 8192), at: 0)
    let answer = try Gathered(disk, 0..<8192)
    try disk.write([9], at: 5000)
    #expect(try answer.bytes() == filled(7, 5000) + [9] + filled(7, 3191))
  }

  @Test func `base bytes and zeros of an answer stay as they were`() throws {
    let disk = try makeDisk(over: base)
    try disk.zero(4096..<8192)
    let answer = try Gathered(disk, 0..<8192)
    try disk.write(filled(9, 8192), at: 0)
    #expect(try answer.bytes() == base.bytes[..<4096] + zeros(4096))
  }

  @Test(arguments: StoreAccess.allCases)
  func `the worst mix of blocks needs no more vectors than promised`(access: StoreAccess) throws {
    let disk = try makeDisk(over: base, access: access)
    try disk.resize(to: Self.size - 1000)
    try disk.resize(to: 2 * Self.size)
    var expected = base.bytes[..<Int(Self.size - 1000)] + zeros(Int(Self.size) + 1000)
    // Base, zero and overlay in turn, so that no two neighbours are one vector.
    for block in stride(from: 0, to: Self.size / 4096, by: 3) {
      try disk.zero(block * 4096..<(block + 1) * 4096)
      expected.replaceSubrange(Int(block) * 4096..<Int(block + 1) * 4096, with: zeros(4096))
      let next = block + 1
      guard next < Self.size / 4096 else { break }
      try disk.write(filled(7, 4096), at: next * 4096)
      expected.replaceSubrange(Int(next) * 4096..<Int(next + 1) * 4096, with: filled(7, 4096))
    }
    // Gathered has exactly the promised room, and debug builds trap beyond it.
    for range in [0..<2 * Self.size, 1..<2 * Self.size - 1, 4095..<Self.size + 1, Self.size - 1..<2 * Self.size] {
      let answer = try Gathered(disk, range)
      #expect(answer.vectors.reduce(0) { $0 + $1.iov_len } == range.count)
      #expect(try answer.bytes() == Array(expected[Int(range.lowerBound)..<Int(range.upperBound)]))
    }
  }
}
