// A change of size that comes while another verb is in the middle of its work: the gate keeps it away from transitions,
// and what does not pass the gate is looked at again.

import DiskIO
import TestSupport
import Testing

@testable import CopyOnWrite

@Suite struct ResizePairsTests {
  private static let blockSize: UInt64 = 16384
  private static let size = 4 * blockSize

  /// A disk whose verbs can be held where they ask the base for bytes or for extents.
  private struct HoldableDisk {
    let reads = Hold()
    let extents = Hold()
    let base: TestBase
    let disk: CowDisk

    init(size: UInt64 = ResizePairsTests.size, holes: [Range<UInt64>] = []) throws {
      let (reads, extents) = (reads, extents)
      base = TestBase(
        pattern(Int(size)), holes: holes, beforeRead: { _ in reads.pass() },
        beforeExtent: { _ in extents.pass() })
      disk = try makeDisk(over: base, blockSize: Int(ResizePairsTests.blockSize))
    }

    /// Runs `first` until it is held, then `second` to its end or until it waits, then lets both end.
    func hold(
      at hold: Hold, _ first: @escaping @Sendable (CowDisk) throws -> Void,
      while second: @escaping @Sendable (CowDisk) throws -> Void
    ) throws {
      let disk = disk
      hold.arm()
      let firstThread = TestThread { try first(disk) }
      #expect(hold.isHolding(), "nobody asked the base")
      let secondThread = TestThread { try second(disk) }
      secondThread.giveMoment()
      hold.release()
      try firstThread.join()
      try secondThread.join()
      try disk.expectSound()
    }
  }

  @Test func `a block that is cut off during its copy-up does not come back`() throws {
    let setUp = try HoldableDisk()
    let cut = Self.blockSize
    try setUp.hold(at: setUp.reads) {
      try $0.write(filled(0x11, 100), at: 2 * Self.blockSize + 5000)
    } while: {
      try $0.resize(to: cut)
    }
    let disk = setUp.disk
    // The write came first, then the cut: nothing is left of it.
    #expect(disk.size == cut)
    #expect(disk.allocatedBytes == 0)
    try disk.resize(to: Self.size)
    #expect(try disk.contents() == Array(setUp.base.bytes[..<Int(cut)]) + zeros(Int(Self.size - cut)))
  }

  @Test func `a block that is cut in the middle during its copy-up ends in zeros after growing`() throws {
    let setUp = try HoldableDisk()
    let cut = 2 * Self.blockSize + 8000
    try setUp.hold(at: setUp.reads) {
      try $0.write(filled(0x11, 100), at: 2 * Self.blockSize + 5000)
    } while: {
      try $0.resize(to: cut)
      try $0.resize(to: Self.size)
    }
    var expected = Array(setUp.base.bytes[..<Int(cut)]) + zeros(Int(Self.size - cut))
    copy(filled(0x11, 100)[...], into: &expected, at: 2 * Int(Self.blockSize) + 5000)
    #expect(difference(try setUp.disk.contents(), expected) == nil)
  }

  @Test func `a disk that grows during the copy-up of its last block has both`() throws {
    let setUp = try HoldableDisk(size: Self.size - 700)
    try setUp.hold(at: setUp.reads) {
      try $0.write(filled(0x11, 100), at: 3 * Self.blockSize + 5000)
    } while: {
      try $0.resize(to: 2 * Self.size)
      try $0.write(filled(0x22, 10), at: Self.size - 350)
    }
    var expected = setUp.base.bytes + zeros(Int(Self.size) + 700)
    copy(filled(0x11, 100)[...], into: &expected, at: 3 * Int(Self.blockSize) + 5000)
    copy(filled(0x22, 10)[...], into: &expected, at: Int(Self.size) - 350)
    #expect(difference(try setUp.disk.contents(), expected) == nil)
  }

  @Test func `a write that a cut overtakes makes the disk grow again`() throws {
    let border: UInt64 = 1 << 20
    let setUp = try HoldableDisk(size: 2 * border)
    let disk = setUp.disk
    // Two stretches, so two transitions; the cut waits for the first of them and may or may not precede the second.
    try setUp.hold(at: setUp.reads) {
      try $0.write(filled(0x11, 200), at: border - 100)
    } while: {
      try $0.resize(to: 50)
    }
    if disk.size == 50 {
      // Nothing of the write may lie in wait behind the end.
      #expect(disk.allocatedBytes == 0)
      try disk.resize(to: 2 * border)
      #expect(difference(try disk.contents(), setUp.base.bytes[..<50] + zeros(Int(2 * border) - 50)) == nil)
    } else {
      let expected = setUp.base.bytes[..<50] + zeros(Int(border) - 50) + filled(0x11, 100)
      #expect(difference(try disk.contents(), Array(expected)) == nil)
    }
  }

  // MARK: Trim

  @Test func `a trim of part of a block that a cut overtakes does not make the disk grow again`() throws {
    let setUp = try HoldableDisk()
    try setUp.hold(at: setUp.extents) {
      try $0.zero(2 * Self.blockSize + 100..<2 * Self.blockSize + 200)
    } while: {
      try $0.resize(to: 1000)
    }
    #expect(setUp.disk.size == 1000)
    #expect(setUp.disk.allocatedBytes == 0)
  }

  @Test func `a trim of part of a block that a cut goes through zeros what is left`() throws {
    let setUp = try HoldableDisk()
    let cut = 2 * Self.blockSize + 150
    try setUp.hold(at: setUp.extents) {
      try $0.zero(2 * Self.blockSize + 100..<2 * Self.blockSize + 200)
    } while: {
      try $0.resize(to: cut)
    }
    #expect(setUp.disk.size == cut)
    #expect(try setUp.disk.contents() == Array(setUp.base.bytes[..<Int(cut - 50)]) + zeros(50))
  }

  @Test func `a trim of part of a block that a cut ends right before does nothing`() throws {
    let setUp = try HoldableDisk()
    try setUp.hold(at: setUp.extents) {
      try $0.zero(2 * Self.blockSize..<2 * Self.blockSize + 200)
    } while: {
      try $0.resize(to: 2 * Self.blockSize)
    }
    #expect(setUp.disk.allocatedBytes == 0)
  }

  @Test func `a trim of whole blocks that a cut goes through ends where the disk does`() throws {
    let setUp = try HoldableDisk()
    try setUp.hold(at: setUp.extents) {
      try $0.zero(0..<Self.size)
    } while: {
      try $0.resize(to: Self.blockSize + 100)
    }
    #expect(try setUp.disk.contents() == zeros(Int(Self.blockSize) + 100))
    #expect(setUp.disk.map.state(of: 2) == .unallocated && setUp.disk.map.state(of: 3) == .unallocated)
  }

  @Test func `a trim up to the end spares what is written behind it meanwhile`() throws {
    // The last block is half a block, and the trim of it counts as whole, until the disk grows.
    let size = Self.size - 8000
    let setUp = try HoldableDisk(size: size)
    try setUp.hold(at: setUp.extents) {
      try $0.zero(3 * Self.blockSize..<size)
    } while: {
      try $0.write(filled(0x22, 500), at: size)
    }
    #expect(setUp.disk.size == size + 500)
    #expect(try setUp.disk.bytes(3 * Self.blockSize..<size) == zeros(Int(size - 3 * Self.blockSize)))
    #expect(try setUp.disk.bytes(size..<size + 500) == filled(0x22, 500))
  }

  /// A read that is held in its first block comes to the next one when that is cut off: it must not see what the base has
  /// there, since there were zeros.
  @Test func `a read that a cut overtakes sees no more of the base`() throws {
    let setUp = try HoldableDisk()
    try setUp.disk.zero(Self.blockSize..<2 * Self.blockSize)
    let expected = Array(setUp.base.bytes[..<Int(Self.blockSize)]) + zeros(Int(Self.blockSize))
    try setUp.hold(at: setUp.reads) {
      let found = difference(try $0.bytes(0..<2 * Self.blockSize), expected)
      try check(found == nil, found ?? "")
    } while: {
      try $0.resize(to: 0)
    }
  }

  // MARK: Growing

  @Test func `growing to a size that the disk has already is no cut`() throws {
    let disk = try makeDisk(over: TestBase(pattern(5000)))
    for size in [0, 1, 4096, 5000] as [UInt64] {
      try disk.grow(toAtLeast: size)
      #expect(try disk.contents() == pattern(5000))
    }
  }

  @Test func `threads that append to the disk never make it shorter, and lose nothing`() throws {
    let disk = try makeDisk(over: TestBase([]))
    let (threads, rounds, step) = (4, 60, 1000)
    try concurrently(threads) { index in
      for round in 0..<rounds {
        let place = (round * threads + index) * step
        try disk.write(filled(UInt8(index + 1), step), at: UInt64(place))
        try check(disk.size >= UInt64(place + step), "the disk ends before what was written at \(place)")
      }
    }
    #expect(disk.size == UInt64(threads * rounds * step))
    var expected: [UInt8] = []
    for part in 0..<threads * rounds { expected += filled(UInt8(part % threads + 1), step) }
    #expect(difference(try disk.contents(), expected) == nil)
  }

  @Test func `an answer to a read stays readable when the disk shrinks and grows a little`() throws {
    let disk = try makeDisk(over: TestBase(pattern(Int(Self.size))))
    try disk.write(filled(0x11, Int(Self.size)), at: 0)
    let answer = try Gathered(disk, 0..<Self.size)
    try disk.resize(to: 100)
    try disk.resize(to: 200)
    // Old bytes or zeros, but bytes: the vectors are on their way to the kernel.
    let found = try answer.bytes()
    #expect(found.count == Int(Self.size))
    #expect(found[..<100] == filled(0x11, 100)[...])
  }
}
