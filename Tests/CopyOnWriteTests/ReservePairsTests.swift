// A reservation, or zeros, that make the disk grow, held in the middle, while somebody writes beyond the end: the kernel
// writes dirty pages back while it holds the inode for fallocate(2). Whatever becomes of the one that was held, what was
// written is there.

#if DEBUG
  import TestSupport

  @testable import DiskIO
  import SystemPackage
  import Testing

  @testable import CopyOnWrite

  @Suite struct ReservePairsTests {
    private static let mebibyte: UInt64 = 1 << 20
    private static let size = 4 * mebibyte
    private static let written = pattern(65536, salt: 3)

    private let faults = Faults()
    private let hold = Hold()
    private let base: TestBase
    private let disk: CowDisk

    init() throws {
      let hold = hold
      base = TestBase(pattern(Int(Self.size)), beforeExtent: { _ in hold.pass() })
      disk = try makeDisk(over: base, faults: faults)
      faults.visit { call, moment in if (call, moment) == (.reserve, .before) { hold.pass() } }
    }

    /// Holds `first` in the overlay's or the base's file system, and runs `second` to its end.
    private func hold(
      _ first: @escaping @Sendable (CowDisk) throws -> Void, fault: Faults.Rule? = nil,
      while second: @escaping @Sendable (CowDisk) throws -> Void
    ) throws {
      let disk = disk
      hold.arm()
      let thread = TestThread { try first(disk) }
      #expect(hold.isHolding(), "nobody came by")
      let other = TestThread { try second(disk) }
      #expect(other.finishes(), "the second waited")
      if let fault { faults.rules = [fault] }
      hold.release()
      let result = Result { try thread.join() }
      faults.rules = []
      try other.join()
      if fault == nil {
        try result.get()
      } else {
        #expect(throws: Errno.noSpace) { try result.get() }
      }
    }

    private func expect(written place: UInt64, sourceLocation: SourceLocation = #_sourceLocation) throws {
      #expect(disk.size == place + UInt64(Self.written.count), sourceLocation: sourceLocation)
      var expected = base.bytes + zeros(Int(disk.size - Self.size))
      copy(Self.written[...], into: &expected, at: Int(place))
      #expect(difference(try disk.contents(), expected) == nil, sourceLocation: sourceLocation)
    }

    @Test(arguments: [nil, Faults.Rule(call: .reserve, effect: .error(.noSpace))])
    func `a write beyond the end outlives a reservation that grows less`(fault: Faults.Rule?) throws {
      let place = 20 * Self.mebibyte
      try hold({ try $0.reserve(0..<2 * Self.size, growing: true) }, fault: fault) {
        try $0.write(Self.written, at: place)
      }
      try expect(written: place)
      #expect(disk.reserved.allocated == (fault == nil ? 2 * Self.size / 4096 : 0))
    }

    /// What is written within the range meanwhile is no part of what a failed reservation gives back.
    @Test func `a write within a reservation that fails is there`() throws {
      let place = 5 * Self.mebibyte
      let fault = Faults.Rule(call: .reserve, effect: .error(.noSpace))
      try hold({ try $0.reserve(0..<2 * Self.size, growing: true) }, fault: fault) {
        try $0.write(Self.written, at: place)
      }
      try expect(written: place)
    }

    @Test func `a write beyond the end outlives zeros that grow less`() throws {
      let place = 20 * Self.mebibyte
      try hold({ try $0.zero(Self.size - 4096..<2 * Self.size, growing: true) }) {
        try $0.write(Self.written, at: place)
      }
      #expect(disk.size == place + UInt64(Self.written.count))
      #expect(try disk.bytes(place..<disk.size) == Self.written)
      #expect(try disk.bytes(Self.size - 4096..<place) == zeros(Int(place - Self.size) + 4096))
    }

    @Test func `a cut waits for a reservation, and takes its part of it`() throws {
      let disk = disk
      hold.arm()
      let reservation = TestThread { try disk.reserve(0..<2 * Self.size, growing: true) }
      #expect(hold.isHolding())
      let cut = TestThread { try disk.resize(to: Self.mebibyte) }
      cut.giveMoment()
      hold.release()
      try reservation.join()
      try cut.join()
      #expect(disk.size == Self.mebibyte)
      #expect(disk.reserved.allocated == Self.mebibyte / 4096)
      #expect(try disk.usedSpace() < 2 * Self.mebibyte)
    }

    /// As the first, without anybody who is held.
    @Test func `threads that write beyond the end lose nothing to those that reserve`() throws {
      let disk = disk
      for round in 0..<150 as Range<UInt64> {
        try disk.resize(to: Self.size)
        try concurrently(3) { index in
          switch index {
          case 0: try disk.reserve(0..<2 * Self.size, growing: true)
          case 1: try disk.zero(Self.size + round * 8..<3 * Self.size, growing: true)
          default: try disk.write(Self.written, at: 20 * Self.mebibyte + round)
          }
        }
        let place = 20 * Self.mebibyte + round
        #expect(disk.size == place + UInt64(Self.written.count))
        #expect(try disk.bytes(place..<disk.size) == Self.written)
      }
    }
  }
#endif
