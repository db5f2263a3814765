// What becomes of space when verbs meet, or fail on their way: none is lost, and the limit is counted right.

#if DEBUG
  import TestSupport

  @testable import DiskIO
  import Synchronization
  import SystemPackage
  import Testing

  @testable import CopyOnWrite

  @Suite struct SpacePairsTests {
    private static let blockSize: UInt64 = 65536
    private static let size: UInt64 = 4 << 20
    private static let limit: UInt64 = 1 << 30

    private let faults = Faults()
    private let base = TestBase(pattern(Int(size)))

    private func disk(_ access: StoreAccess, copiesReads: Bool = false) throws -> CowDisk {
      try makeDisk(
        over: base, blockSize: Int(Self.blockSize), access: access,
        options: .init(maxOverlay: Self.limit, copyOnRead: copiesReads ? .always : .never), faults: faults)
    }

    // MARK: Writes in place

    /// What is written in place: parts of three stretches, the first of which is alone with the error.
    private static let place = blockSize..<(2 << 20) + blockSize

    /// Writes in place, held before its first byte is stored, while `verb` takes the blocks away.
    private func holdWriteInPlace(
      _ disk: CowDisk, thenFail rule: Faults.Rule?, while verb: (CowDisk) throws -> Void
    ) throws {
      let (hold, faults) = (Hold(), faults)
      try disk.write(filled(7, 3 << 20), at: 0)
      faults.visit { call, moment in if (call, moment) == (.write, .before) { hold.pass() } }
      hold.arm()
      let writer = TestThread { try disk.write(filled(8, Self.place.count), at: Self.place.lowerBound) }
      #expect(hold.isHolding())
      try verb(disk)
      if let rule { faults.rules = [rule] }
      hold.release()
      let result = Result { try writer.join() }
      faults.rules = []
      faults.visit(nil)
      if rule == nil { try result.get() } else { #expect(throws: Errno.noSpace) { try result.get() } }
      try disk.expectSound()
    }

    private static let noSpace = Faults.Rule(call: .reserve, effect: .error(.noSpace))

    @Test(arguments: [nil, noSpace], [StoreAccess.mapped, .unmapped])
    func `a write in place whose blocks are trimmed leaves no space behind`(rule: Faults.Rule?, access: StoreAccess)
      throws
    {
      let disk = try disk(access)
      try holdWriteInPlace(disk, thenFail: rule) { try $0.zero(0..<3 << 20) }
      #expect(try disk.bytes(Self.place) == filled(rule == nil ? 8 : 0, Self.place.count))
      #expect(disk.allocatedBytes == (rule == nil ? UInt64(Self.place.count) : 0))
      let used = try disk.usedSpace()
      #expect(used < disk.allocatedBytes + Self.blockSize)
    }

    @Test(arguments: [nil, noSpace], [StoreAccess.mapped, .unmapped])
    func `a write in place whose blocks are cut off leaves no space behind`(rule: Faults.Rule?, access: StoreAccess)
      throws
    {
      let disk = try disk(access)
      try holdWriteInPlace(disk, thenFail: rule) { try $0.resize(to: 100) }
      // It makes the disk grow again, stretch by stretch.
      #expect(disk.size == (rule == nil ? Self.place.upperBound : 1 << 20))
      #expect(try disk.bytes(100..<Self.blockSize) == zeros(Int(Self.blockSize) - 100))
      let used = try disk.usedSpace()
      #expect(used < disk.allocatedBytes + Self.blockSize)
    }

    @Test func `a write in place leaves space alone that was set aside after a trim`() throws {
      let disk = try disk(.unmapped)
      try holdWriteInPlace(disk, thenFail: Self.noSpace) {
        try $0.zero(0..<3 << 20)
        try $0.reserve(Self.place)
      }
      #expect(disk.reserved.allocated == UInt64(Self.place.count) / Self.blockSize)
      let used = try disk.usedSpace()
      #expect(used >= UInt64(Self.place.count))
    }

    // MARK: First writes that leave their space to the file system

    /// A store found no space, and neither did a call. A reservation finds some, if need be after what was stored before has
    /// been written back.
    @Test(arguments: [false, true])
    func `a reservation has the last word on space`(needsWriteBack: Bool) throws {
      // Elsewhere each first write begins with its reservation.
      guard try File.scratch(in: scratchDirectory).storesAllocate else { return }
      let disk = try makeDisk(over: base, faults: faults)
      let noSpace = [FileCall.store, .write, .reserve].map { Faults.Rule(call: $0, effect: .error(.noSpace)) }
      faults.rules = noSpace
      let hasAsked = Atomic(false)
      faults.visit { [faults] call, moment in
        switch (call, moment) {
        case (.reserve, .before) where !needsWriteBack: faults.rules = []
        case (.reserve, .after): hasAsked.store(true, ordering: .sequentiallyConsistent)
        case (.write, .before) where hasAsked.load(ordering: .sequentiallyConsistent): faults.rules = []
        default: break
        }
      }
      try disk.write([7], at: 5000)
      faults.visit(nil)
      #expect(faults.rules == [])
      #expect(try disk.bytes(4999..<5002) == [base.bytes[4999], 7, base.bytes[5001]])
      // Where there is none at all, that is said.
      faults.rules = noSpace
      #expect(throws: Errno.noSpace) { try disk.write([7], at: 50_000) }
      faults.rules = []
      try disk.expectSound()
    }

    // MARK: Verbs that fail in the middle

    /// Lets that many calls pass, and fails all that follow.
    private func fail(_ call: FileCall, with error: Errno, sparing spared: Int) {
      let (faults, left) = (faults, Counter(spared))
      faults.visit { which, moment in
        if (which, moment) == (call, .before), left.down() < 0 {
          faults.rules = [.init(call: call, effect: .error(error))]
        }
      }
    }

    private func mend() {
      faults.visit(nil)
      faults.rules = []
    }

    /// A disk that was written, copied, trimmed and set aside, each in one of its four stretches.
    private func mixedDisk() throws -> CowDisk {
      let disk = try disk(.unmapped, copiesReads: true)
      try disk.write(filled(7, 1 << 20), at: 0)
      _ = try disk.bytes(1 << 20..<2 << 20)
      try disk.zero(2 << 20..<(2 << 20) + 5 * Self.blockSize)
      try disk.reserve((2 << 20) + 2 * Self.blockSize..<Self.size)
      return disk
    }

    @Test(arguments: 0..<6)
    func `a trim that fails in the middle has trimmed what comes before`(spared: Int) throws {
      let disk = try mixedDisk()
      fail(.punch, with: .ioError, sparing: spared)
      let failure = Result { try disk.zero(0..<Self.size) }
      mend()
      if spared < 5 { #expect(throws: Errno.ioError) { try failure.get() } }
      // A copy whose hole failed is none any more, and its space may be there.
      try disk.expectSound(mayLeak: spared == 1)
      let expected = filled(7, 1 << 20) + base.bytes[(1 << 20)..<(2 << 20)] + zeros(5 * 65536)
      let whole = expected + base.bytes[expected.count...]
      // In the third there is one hole for what was trimmed and set aside, and one for what was set aside alone.
      let trimmed = [0, 1, 2, 2, 3, 4][spared] << 20
      #expect(difference(try disk.bytes(UInt64(trimmed)..<Self.size), Array(whole[trimmed...])) == nil)
      #expect(try disk.bytes(0..<UInt64(trimmed)) == zeros(trimmed))
      try disk.zero(0..<Self.size)
      try disk.expectSound(mayLeak: spared == 1)
      #expect(disk.allocatedBytes + disk.cachedBytes + disk.reserved.allocated == 0)
    }

    @Test(arguments: 0..<4)
    func `a reservation that fails in the middle keeps nothing`(spared: Int) throws {
      let disk = try disk(.unmapped)
      try disk.write([1], at: (1 << 20) + 5)
      try disk.reserve(3 * Self.blockSize..<5 * Self.blockSize)
      let used = try disk.usedSpace()
      fail(.reserve, with: .noSpace, sparing: spared)
      #expect(throws: Errno.noSpace) { try disk.reserve(100..<Self.size + 10, growing: true) }
      mend()
      try disk.expectSound()
      #expect(disk.size == Self.size && disk.reserved.allocated == 2)
      #expect(try disk.usedSpace() < used + 32768)
    }

    @Test(.enabled(if: TinyFileSystem.isAvailable, "a file system can be mounted"))
    func `a reservation that cannot be met does not fill the file system on its way there`() throws {
      let small = try TinyFileSystem(bytes: 2 << 20)
      let disk = try makeDisk(over: base, in: small.path, faults: faults)
      try disk.reserve(0..<3 << 19)
      let calls = Counter(0)
      faults.visit { call, moment in if (call, moment) == (.reserve, .before) { _ = calls.down() } }
      // Neither what is set aside elsewhere, nor what is set aside here, makes more of it.
      for range in [3 << 20..<Self.size, 1 << 20..<3 << 20, 0..<Self.size] as [Range<UInt64>] {
        #expect(throws: Errno.noSpace) { try disk.reserve(range) }
      }
      #expect(calls.down() == -1, "the file system was asked")
      try disk.reserve(1 << 20..<(3 << 19) + 65536)
      faults.visit(nil)
      try disk.expectSound()
    }

    /// A store would take space for a page of the kernel, and so for other blocks.
    @Test func `nothing is stored into pages that are larger than a block`() throws {
      let stores = Counter(0)
      faults.visit { call, _ in if call == .store { _ = stores.down() } }
      for (pageSize, hasStores) in [(16384, false), (65536, false), (4096, true)] {
        let disk = try makeDisk(over: base, blockSize: 4096, pageSize: pageSize, faults: faults)
        try disk.write([1], at: 5000)
        try disk.write([2], at: 5001)
        try disk.zero(5002..<5003)
        try disk.write(pattern(9000), at: 100_000)
        #expect(try disk.bytes(4999..<5004) == [base.bytes[4999], 1, 2, 0, base.bytes[5003]])
        #expect((stores.down() < -1) == hasStores)
        _ = stores.up()
      }
    }

    /// The file system has set some of it aside when it finds no more.
    @Test func `what a file system sets aside of a reservation that fails is given back`() throws {
      let disk = try disk(.unmapped)
      faults.visit { [faults] call, moment in
        guard (call, moment) == (.reserve, .before) else { return }
        faults.visit(nil)
        try? disk.store.file.reserve(0..<Self.blockSize)
        faults.rules = [.init(call: .reserve, effect: .error(.noSpace))]
      }
      #expect(throws: Errno.noSpace) { try disk.reserve(0..<1 << 20) }
      mend()
      #expect(try disk.usedSpace() < Self.blockSize)
      try disk.expectSound()
    }

    /// The end of the last block comes into view and has to be wiped.
    @Test func `growing that fails at the last moment leaves the size, and sets nothing aside`() throws {
      let disk = try makeDisk(
        over: TestBase(pattern(100_000)), blockSize: Int(Self.blockSize), access: .unmapped, faults: faults)
      try disk.write([1], at: 99_999)
      let used = try disk.usedSpace()
      faults.rules = [.init(call: .write, effect: .error(.ioError))]
      #expect(throws: Errno.ioError) { try disk.reserve(0..<Self.size, growing: true) }
      #expect(throws: Errno.ioError) { try disk.zero(100_000..<Self.size, growing: true) }
      mend()
      #expect(disk.size == 100_000 && disk.reserved.allocated == 0)
      #expect(try disk.usedSpace() < used + 32768)
      try disk.expectSound()
    }

    @Test(arguments: 0..<3)
    func `a cut through what was written, copied and set aside leaves nothing`(place: Int) throws {
      let disk = try mixedDisk()
      let cut = [0, 1 << 19 + 5, 3 << 20 - 7][place]
      try disk.resize(to: UInt64(cut))
      try disk.expectSound()
      try disk.resize(to: Self.size)
      try disk.expectSound()
      #expect(try disk.bytes(UInt64(cut)..<Self.size) == zeros(Int(Self.size) - cut))
    }
  }

  /// A number that threads count down.
  private final class Counter: Sendable {
    private let left: Atomic<Int>
    init(_ count: Int) { left = Atomic(count) }
    func up() -> Int { left.add(1, ordering: .sequentiallyConsistent).newValue }
    func down() -> Int { left.subtract(1, ordering: .sequentiallyConsistent).newValue }
  }
#endif
