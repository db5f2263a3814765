// Copies of the base that give way, at each moment that matters, while somebody reads them or needs the space.

#if DEBUG
  import TestSupport

  @testable import DiskIO
  import Glibc
  import SystemPackage
  import Testing

  @testable import CopyOnWrite

  @Suite struct EvictPairsTests {
    private static let blockSize: UInt64 = 65536
    private static let limit = 16 * blockSize

    private let faults = Faults()
    private let base = TestBase(pattern(4 << 20))
    private let disk: CowDisk

    init() throws {
      // No mapping: then every look at a copy is a call, and can be held.
      disk = try makeDisk(
        over: base, blockSize: Int(Self.blockSize), access: .unmapped,
        options: .init(maxOverlay: Self.limit, copyOnRead: .always), faults: faults)
    }

    /// In the order of the design note, a reader who looked at the states before may find the hole, but knows then that
    /// something was evicted. The evicting thread stands still right behind the hole.
    @Test func `a reader who finds the hole of a copy asks the base`() throws {
      let (disk, base, reader, evictor) = (disk, base, Hold(), Hold())
      let range = Self.blockSize + 100..<Self.blockSize + 5000
      _ = try disk.bytes(0..<4 * Self.blockSize)
      #expect(disk.map.state(of: 1) == .cached)
      faults.visit { call, moment in
        switch (call, moment) {
        case (.read, .before): reader.pass()
        case (.punch, .after): evictor.pass()
        default: break
        }
      }
      reader.arm()
      evictor.arm()
      let read = TestThread {
        let found = try disk.bytes(range)
        let difference = difference(found, Array(base.bytes[Int(range.lowerBound)..<Int(range.upperBound)]))
        try check(difference == nil, difference ?? "")
      }
      #expect(reader.isHolding())
      // It needs all that there is, and so each copy.
      let write = TestThread { try disk.write(filled(7, Int(Self.limit)), at: 2 << 20) }
      #expect(evictor.isHolding())
      #expect(disk.map.state(of: 1) == .unallocated)
      reader.release()
      #expect(read.finishes())
      evictor.release()
      try read.join()
      try write.join()
      faults.visit(nil)
      try disk.expectSound()
    }

    /// The last copies are evicted by another thread right after the file system found no space.
    @Test func `a writer whose space another one made has it`() throws {
      let (disk, hold) = (disk, Hold())
      _ = try disk.bytes(0..<4 * Self.blockSize)
      faults.rules = [.init(call: .reserve, effect: .error(.noSpace))]
      faults.visit { call, moment in if (call, moment) == (.reserve, .after) { hold.pass() } }
      hold.arm()
      let writer = TestThread { try disk.write(filled(7, 65536), at: 2 << 20) }
      #expect(hold.isHolding())
      // It evicts all there is, and finds no space either.
      #expect(throws: Errno.noSpace) { try disk.write(filled(8, 65536), at: 3 << 20) }
      #expect(disk.cachedBytes == 0)
      faults.rules = []
      hold.release()
      try writer.join()
      faults.visit(nil)
      #expect(try disk.bytes(2 << 20..<2 << 20 + 65536) == filled(7, 65536))
      try disk.expectSound()
    }

    @Test(arguments: [Errno.noSpace, .diskQuotaExceeded])
    func `copies give way to a writer for whom there is no space, whatever that is called`(error: Errno) throws {
      let (disk, faults) = (disk, faults)
      _ = try disk.bytes(0..<4 * Self.blockSize)
      faults.rules = [.init(call: .reserve, effect: .error(error))]
      // The space of a copy is enough.
      faults.visit { call, moment in
        if (call, moment) == (.punch, .after), disk.cachedBytes < 4 * Self.blockSize { faults.rules = [] }
      }
      try disk.write(filled(7, 65536), at: 2 << 20)
      #expect(try disk.bytes(2 << 20..<2 << 20 + 65536) == filled(7, 65536))
      // And to who sets space aside.
      _ = try disk.bytes(0..<4 * Self.blockSize)
      faults.rules = [.init(call: .reserve, effect: .error(error))]
      try disk.reserve(3 << 20..<3 << 20 + 65536)
      faults.visit(nil)
      #expect(disk.cachedBytes < 4 * Self.blockSize)
      #expect(difference(try disk.bytes(0..<1 << 20), Array(base.bytes[..<(1 << 20)])) == nil)
      try disk.expectSound()
    }

    /// Those that are in the range itself are what it needs.
    @Test func `copies elsewhere count as space for a reservation, its own do not`() throws {
      _ = try disk.bytes(0..<4 * Self.blockSize)
      #expect(disk.cachedBytes == 4 * Self.blockSize)
      #expect(throws: Errno.noSpace) { try disk.reserve(0..<17 * Self.blockSize) }
      #expect(disk.cachedBytes == 4 * Self.blockSize)
      try disk.reserve(0..<16 * Self.blockSize)
      try disk.zero(0..<16 * Self.blockSize)
      _ = try disk.bytes(20 * Self.blockSize..<24 * Self.blockSize)
      try disk.reserve(0..<16 * Self.blockSize)
      #expect(throws: Errno.noSpace) { try disk.reserve(0..<17 * Self.blockSize) }
      try disk.expectSound()
    }

    /// Without a limit it makes no room when a copy goes whose space was set aside.
    @Test(arguments: [nil, limit])
    func `copies whose space is set aside go only where there is a limit`(limit: UInt64?) throws {
      let disk = try makeDisk(
        over: base, blockSize: Int(Self.blockSize), access: .unmapped,
        options: .init(maxOverlay: limit, copyOnRead: .always), faults: faults)
      _ = try disk.bytes(0..<4 * Self.blockSize)
      try disk.reserve(0..<4 * Self.blockSize)
      faults.rules = [.init(call: .reserve, effect: .error(.noSpace))]
      #expect(throws: Errno.noSpace) { try disk.write(filled(7, 65536), at: 2 << 20) }
      faults.rules = []
      #expect(disk.cachedBytes == (limit == nil ? 4 * Self.blockSize : 0))
      #expect(disk.reserved.allocated == 4)
      try disk.expectSound()
    }

    @Test func `without copies that is an error`() throws {
      faults.rules = [.init(call: .reserve, effect: .error(.diskQuotaExceeded))]
      #expect(throws: Errno.diskQuotaExceeded) { try disk.write(filled(7, 65536), at: 2 << 20) }
      faults.rules = []
      try disk.expectSound()
    }

    /// Nothing that fails while a copy is made takes away what somebody had set aside.
    @Test func `a copy that fails leaves what was set aside`() throws {
      try disk.reserve(0..<4 * Self.blockSize)
      let used = try disk.usedSpace()
      faults.rules = [.init(call: .write, effect: .error(.ioError))]
      #expect(difference(try disk.bytes(0..<8 * Self.blockSize), Array(base.bytes[..<Int(8 * Self.blockSize)])) == nil)
      #expect(disk.cachedBytes == 0)
      #expect(try disk.usedSpace() == used)
      faults.rules = []
      try disk.expectSound()
    }
  }
#endif
