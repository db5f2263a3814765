// Every verb of the engine while system calls fail, are cut short, are interrupted or are late (Faults.swift, which is in
// debug builds only). A verb either does its work or fails and leaves what its comment allows; once the fault is gone,
// the same verb succeeds.

#if DEBUG
  import TestSupport

  @testable import DiskIO
  import Glibc
  import SystemPackage
  import Testing

  @testable import CopyOnWrite

  @Suite struct FaultTests {
    private static let blockSize = 16384
    /// Eight whole blocks and a part of one.
    private static let size = 8 * blockSize + 5000

    // MARK: What is tried

    /// A fault of one file's calls.
    struct Fault: CustomTestStringConvertible, Sendable {
      let role: FileRole
      let call: FileCall
      let effect: Faults.Effect

      var testDescription: String { "\(role) \(call): \(effect)" }

      /// Whether nobody may notice it. What cannot be stored into the mapping is written by a call.
      var isInvisible: Bool {
        if case .error = effect { return call == .store }
        return true
      }
    }

    static let faults: [Fault] = [
      Fault(role: .base, call: .read, effect: .error(.ioError)),
      Fault(role: .base, call: .read, effect: .short),
      Fault(role: .base, call: .read, effect: .interrupted),
      Fault(role: .base, call: .read, effect: .delay(milliseconds: 1)),
      Fault(role: .base, call: .seek, effect: .error(.ioError)),
      Fault(role: .base, call: .seek, effect: .interrupted),
      Fault(role: .overlay, call: .read, effect: .error(.ioError)),
      Fault(role: .overlay, call: .read, effect: .short),
      Fault(role: .overlay, call: .read, effect: .interrupted),
      Fault(role: .overlay, call: .write, effect: .error(.ioError)),
      Fault(role: .overlay, call: .write, effect: .error(.noSpace)),
      Fault(role: .overlay, call: .write, effect: .short),
      Fault(role: .overlay, call: .write, effect: .interrupted),
      Fault(role: .overlay, call: .write, effect: .delay(milliseconds: 1)),
      Fault(role: .overlay, call: .store, effect: .error(.ioError)),
      Fault(role: .overlay, call: .store, effect: .delay(milliseconds: 1)),
      Fault(role: .overlay, call: .reserve, effect: .error(.noSpace)),
      Fault(role: .overlay, call: .reserve, effect: .error(.ioError)),
      Fault(role: .overlay, call: .reserve, effect: .interrupted),
      Fault(role: .overlay, call: .punch, effect: .error(.ioError)),
      Fault(role: .overlay, call: .punch, effect: .interrupted),
      Fault(role: .overlay, call: .resize, effect: .error(.fileTooLarge)),
      Fault(role: .overlay, call: .resize, effect: .interrupted),
    ]

    /// Something to do to the disk: to bytes that are a block, or parts of blocks, of a certain state.
    enum Verb: CaseIterable, Sendable {
      case read
      case writeWhole, writePart, writePartsOfTwo, writeMany, writeOverZeroBlock, writeInPlace, writePastTheEnd
      case writeZeros
      case zeroWhole, zeroAllocated, zeroPart, zeroPartOfAllocated, zeroMany
      case reserve, reserveAndGrow, zeroAndGrow, grow, shrink

      /// Whether the overlay's file system has what it takes.
      func isPossible(with access: StoreAccess) -> Bool {
        access != .plain || (self != .reserve && self != .reserveAndGrow)
      }

      /// The bytes that may change.
      var range: Range<Int> {
        let block = FaultTests.blockSize
        return switch self {
        case .read, .reserve: 0..<0
        case .writeWhole, .zeroWhole: 3 * block..<4 * block
        case .writePart, .zeroPart: 3 * block + 100..<3 * block + 5100
        case .writePartsOfTwo: 4 * block - 700..<4 * block + 900
        case .writeMany, .zeroMany: 500..<FaultTests.size - 10
        case .writeOverZeroBlock: 2 * block + 3..<2 * block + 3333
        case .writeInPlace, .zeroPartOfAllocated: block + 17..<block + 9000
        case .zeroAllocated: block..<2 * block
        case .zeroAndGrow: FaultTests.size - 700..<FaultTests.size + 2 * block
        case .writeZeros: 3 * block - 50..<5 * block + 60
        case .writePastTheEnd: FaultTests.size - 600..<FaultTests.size + 2 * block
        case .grow, .reserveAndGrow: FaultTests.size..<FaultTests.size + 3 * block
        case .shrink: 3 * block + 77..<FaultTests.size
        }
      }

      var bytes: [UInt8] { self == .writeZeros ? zeros(range.count) : pattern(range.count, salt: 99) }

      func run(on disk: CowDisk) throws {
        let range = UInt64(range.lowerBound)..<UInt64(range.upperBound)
        switch self {
        case .read: _ = try disk.contents()
        case .writeWhole, .writePart, .writePartsOfTwo, .writeMany, .writeOverZeroBlock, .writeInPlace,
          .writePastTheEnd, .writeZeros:
          try disk.write(bytes, at: range.lowerBound)
        case .zeroWhole, .zeroAllocated, .zeroPart, .zeroPartOfAllocated, .zeroMany: try disk.zero(range)
        case .reserve: try disk.reserve(0..<disk.size)
        case .reserveAndGrow: try disk.reserve(0..<range.upperBound, growing: true)
        case .zeroAndGrow: try disk.zero(range, growing: true)
        case .grow: try disk.resize(to: range.upperBound)
        case .shrink: try disk.resize(to: range.lowerBound)
        }
      }

      func run(on model: inout DiskModel) {
        switch self {
        case .read, .reserve: break
        case .writeWhole, .writePart, .writePartsOfTwo, .writeMany, .writeOverZeroBlock, .writeInPlace,
          .writePastTheEnd, .writeZeros:
          model.write(bytes, at: range.lowerBound)
        case .zeroWhole, .zeroAllocated, .zeroPart, .zeroPartOfAllocated, .zeroMany: model.zero(range)
        case .grow, .reserveAndGrow: model.resize(to: range.upperBound)
        case .zeroAndGrow:
          model.zero(range.lowerBound..<model.size)
          model.resize(to: range.upperBound)
        case .shrink: model.resize(to: range.lowerBound)
        }
      }
    }

    // MARK: What it is tried on

    /// A disk over a base in a file, with blocks in every state.
    ///
    ///     block  0     1          2     3     4                   5       6     7     8 (a part)
    ///            base  allocated  zero  base  base, then a hole   a hole  base  base  base
    private struct Rig {
      let baseFaults = Faults()
      let overlayFaults = Faults()
      let disk: CowDisk
      private(set) var model: DiskModel

      private static let limit: UInt64 = 1 << 30

      /// - Parameter copiesReads: whether reads copy, and all that is unallocated has been copied.
      init(access: StoreAccess, copiesReads: Bool = false) throws {
        let hole = 4 * blockSize + 8192..<6 * blockSize
        let base = try FileBase(size: FaultTests.size, hole: hole, faults: baseFaults)
        var scratch = try File.scratch(in: scratchDirectory)
        scratch.faults = overlayFaults
        guard let geometry = Geometry(blockSize: blockSize) else { preconditionFailure() }
        disk = try CowDisk(
          base: base, geometry: geometry, scratch: scratch,
          options: .init(maxOverlay: Self.limit, copyOnRead: copiesReads ? .always : .never), access: access)
        model = DiskModel(base: base.bytes, holes: [hole], blockSize: blockSize)
        let written = pattern(blockSize, salt: 5)
        for (bytes, place) in [(written, blockSize), (Array(written[..<100]), 2 * blockSize)] {
          try disk.write(bytes, at: UInt64(place))
          model.write(bytes, at: place)
        }
        try disk.zero(UInt64(2 * blockSize)..<UInt64(3 * blockSize))
        model.zero(2 * blockSize..<3 * blockSize)
        if copiesReads { _ = try disk.contents() }
      }

      func set(_ fault: Fault) {
        let rule = Faults.Rule(call: fault.call, effect: fault.effect)
        (fault.role == .base ? baseFaults : overlayFaults).rules = [rule]
      }

      func mend() {
        baseFaults.rules = []
        overlayFaults.rules = []
      }

      mutating func modelDoes(_ verb: Verb) { verb.run(on: &model) }
      mutating func modelResizes(to size: Int) { model.resize(to: size) }

      func expectModel(_ comment: Comment, sourceLocation: SourceLocation = #_sourceLocation) throws {
        #expect(disk.size == UInt64(model.size), comment, sourceLocation: sourceLocation)
        #expect(difference(try disk.contents(), model.bytes) == nil, comment, sourceLocation: sourceLocation)
        #expect(disk.allocatedBytes == model.allocatedBytes, comment, sourceLocation: sourceLocation)
        expectCounted(comment, sourceLocation: sourceLocation)
      }

      /// What is left of the limit is what the blocks leave of it.
      func expectCounted(_ comment: Comment, sourceLocation: SourceLocation = #_sourceLocation) {
        let taken = disk.allocatedBytes + disk.cachedBytes
        #expect(disk.limit.left + taken == Self.limit, comment, sourceLocation: sourceLocation)
      }
    }

    // MARK: The tests

    @Test(arguments: faults, StoreAccess.allCases)
    func `a verb does its work or fails, and works when the fault is gone`(fault: Fault, access: StoreAccess) throws {
      try tryVerbs(fault, access, copiesReads: false)
    }

    @Test(arguments: faults)
    func `so does a verb that meets copies of the base`(fault: Fault) throws {
      try tryVerbs(fault, .mapped, copiesReads: true)
    }

    private func tryVerbs(_ fault: Fault, _ access: StoreAccess, copiesReads: Bool) throws {
      for verb in Verb.allCases where verb.isPossible(with: access) {
        var rig = try Rig(access: access, copiesReads: copiesReads)
        let what: Comment = "\(verb), \(fault.testDescription), \(access), copies \(copiesReads)"
        let spaceBefore = try rig.disk.usedSpace()
        let statesBefore = states(rig.disk)
        rig.set(fault)
        let error = failure { try verb.run(on: rig.disk) }
        rig.mend()
        if let error {
          #expect(!fault.isInvisible, "\(what): \(error)")
          #expect(fault.effect == .error(error), "\(what): \(error)")
          try expectLegalRemains(of: verb, rig, statesBefore: statesBefore, what)
          if access != .plain, fault.call != .punch {
            // Less than a block: file systems have their own bookkeeping.
            let grown = rig.disk.allocatedBytes - min(rig.disk.allocatedBytes, rig.model.allocatedBytes)
            let space = try rig.disk.usedSpace()
            #expect(space < spaceBefore + grown + UInt64(Self.blockSize), what)
          }
          try verb.run(on: rig.disk)
        }
        rig.modelDoes(verb)
        try rig.expectModel(what)
        try rig.disk.expectSound(mayLeak: fault.call == .punch, what)
      }
    }

    /// Faults that come and go while verbs follow each other: no verb is half done that the next then trips over.
    @Test(arguments: StoreAccess.allCases)
    func `verbs go on through faults that come and go`(access: StoreAccess) throws {
      var generator = SeededGenerator(seed: testSeed)
      var rig = try Rig(access: access)
      for round in 0..<300 {
        let verb = Verb.allCases.filter { $0.isPossible(with: access) }.randomElement(using: &generator)!
        for faults in [rig.baseFaults, rig.overlayFaults] {
          faults.rules = Self.faults.filter { ($0.role == .base) == (faults === rig.baseFaults) }.map {
            Faults.Rule(call: $0.call, effect: $0.effect, probability: 0.15)
          }
        }
        // Back to a known size, for a verb's range must lie within the disk.
        let size = UInt64(Self.size)
        var attempts = 0
        while failure({ try rig.disk.resize(to: size) }) != nil { attempts += 1 }
        rig.modelResizes(to: Self.size)
        while failure({ try verb.run(on: rig.disk) }) != nil { attempts += 1 }
        rig.modelDoes(verb)
        rig.mend()
        let what: Comment = "seed \(testSeed), round \(round), \(verb) after \(attempts) failures"
        #expect(rig.disk.size == UInt64(rig.model.size), what)
        try #require(difference(try rig.disk.contents(), rig.model.bytes) == nil, what)
        rig.expectCounted(what)
      }
      #expect(rig.overlayFaults.strikes > 100)
      try rig.disk.expectSound(mayLeak: true)
    }

    @Test(arguments: [true, false])
    func `zeros that are detected fail as the overlay does, and change nothing`(whole: Bool) throws {
      let scratchFaults = Faults()
      var scratch = try File.scratch(in: scratchDirectory)
      scratch.faults = scratchFaults
      let base = TestBase(pattern(Self.size))
      let disk = try CowDisk(
        base: base, geometry: #require(Geometry(blockSize: Self.blockSize)), scratch: scratch,
        options: .init(detectZeroes: true))
      let start = UInt64(whole ? Self.blockSize : Self.blockSize + 10)
      let old = pattern(Self.blockSize, salt: 3)
      try disk.write(old, at: UInt64(Self.blockSize))
      scratchFaults.rules = [.init(call: whole ? .punch : .write, effect: .error(.ioError))]
      #expect(throws: Errno.ioError) { try disk.write(zeros(Self.blockSize), at: start) }
      scratchFaults.rules = []
      if whole {
        #expect(try disk.bytes(start..<start + UInt64(Self.blockSize)) == old)
        #expect(disk.allocatedBytes == UInt64(Self.blockSize))
      }
      try disk.write(zeros(Self.blockSize), at: start)
      #expect(try disk.bytes(start..<start + UInt64(Self.blockSize)) == zeros(Self.blockSize))
    }

    /// The base takes its time for a copy-up, and a write of the whole block comes meanwhile: nbdkit's copy-on-read and
    /// its cache lose that write.
    @Test(arguments: StoreAccess.allCases)
    func `a slow base does not lose a whole-block write`(access: StoreAccess) throws {
      let rig = try Rig(access: access)
      rig.baseFaults.rules = [.init(call: .read, effect: .delay(milliseconds: 60))]
      let disk = rig.disk
      let start = UInt64(3 * Self.blockSize)
      let whole = filled(0xAA, Self.blockSize)
      let partial = TestThread { try disk.write(filled(0x11, 100), at: start + 5000) }
      usleep(20_000)
      try disk.write(whole, at: start)
      try partial.join()
      var partialLater = whole
      copy(filled(0x11, 100)[...], into: &partialLater, at: 5000)
      let found = try disk.bytes(start..<start + UInt64(Self.blockSize))
      #expect(found == whole || found == partialLater)
    }

    /// Copies are a convenience: nothing that becomes of the overlay fails a read that copies, or a read of a copy.
    @Test(arguments: faults, StoreAccess.allCases)
    func `reads that copy do not need the overlay`(fault: Fault, access: StoreAccess) throws {
      let overlayFaults = Faults()
      let baseFaults = Faults()
      let base = try FileBase(size: Self.size, hole: 4 * Self.blockSize..<5 * Self.blockSize, faults: baseFaults)
      var scratch = try File.scratch(in: scratchDirectory)
      scratch.faults = overlayFaults
      let disk = try CowDisk(
        base: base, geometry: #require(Geometry(blockSize: Self.blockSize)), scratch: scratch,
        options: .init(maxOverlay: 1 << 30, copyOnRead: .always), access: access)
      // Some are copied before the fault comes, others not.
      let early = UInt64(3 * Self.blockSize)
      _ = try disk.bytes(0..<early)
      (fault.role == .base ? baseFaults : overlayFaults).rules = [.init(call: fault.call, effect: fault.effect)]
      for _ in 0..<2 {
        #expect(difference(try disk.bytes(0..<early), Array(base.bytes[..<Int(early)])) == nil)
        let failure = failure {
          let found = difference(try disk.contents(), base.bytes)
          #expect(found == nil)
        }
        #expect((failure != nil) == (fault.role == .base && fault.call == .read && !fault.isInvisible))
      }
      (baseFaults.rules, overlayFaults.rules) = ([], [])
      #expect(disk.limit.left + disk.cachedBytes == 1 << 30)
      for _ in 0..<2 { #expect(difference(try disk.contents(), base.bytes) == nil) }
      // While holes could not be told from data, one may have been copied.
      let blocks = disk.cachedBytes / UInt64(Self.blockSize)
      #expect(blocks == 8 || blocks == 9 && fault.role == .base && fault.call == .seek)
    }

    @Test func `an overlay that cannot be read fails the read, and only where it is read`() throws {
      let rig = try Rig(access: .mapped)
      rig.overlayFaults.rules = [.init(call: .read, effect: .error(.ioError))]
      let block = UInt64(Self.blockSize)
      #expect(throws: Errno.ioError) { try rig.disk.bytes(block..<2 * block) }
      // As the kernel finds out when it copies the answer.
      #expect(throws: Errno.badAddress) { try rig.disk.gatheredBytes(block..<2 * block) }
      #expect(try rig.disk.bytes(0..<block) == Array(rig.model.bytes[..<Self.blockSize]))
      rig.mend()
      try rig.expectModel("after the fault")
    }

    // MARK: Rules

    @Test func `rules are read from text`() {
      let text = "base-read:EIO@/tmp/a:b,overlay-reserve:ENOSPC:0.25,overlay-write:delay=20,base-seek:eintr:1@/x"
      #expect(
        Faults.parse(text, for: .base) == [
          Faults.Rule(call: .read, effect: .error(.ioError), trigger: "/tmp/a:b"),
          Faults.Rule(call: .seek, effect: .interrupted, trigger: "/x"),
        ])
      #expect(
        Faults.parse(text, for: .overlay) == [
          Faults.Rule(call: .reserve, effect: .error(.noSpace), probability: 0.25),
          Faults.Rule(call: .write, effect: .delay(milliseconds: 20)),
        ])
      for nonsense in ["base", "base-read", "base-read:EWHAT", "disk-read:EIO", "base-read:EIO:often", "-:EIO", "@"] {
        #expect(Faults.parse(nonsense, for: .base) == nil, "\(nonsense)")
      }
    }

    @Test func `a rule with a trigger holds while there is the file`() throws {
      let trigger = scratchDirectory.appending("cowmount-fault.\(getpid())")
      let faults = Faults([.init(call: .read, effect: .error(.ioError), trigger: trigger)])
      #expect(faults.strike(.read) == nil)
      close(open(trigger.string, O_CREAT | O_WRONLY, 0o600))
      #expect(faults.strike(.read) == .error(.ioError) && faults.strike(.write) == nil)
      unlink(trigger.string)
      #expect(faults.strike(.read) == nil)
    }

    @Test func `a rule with a probability strikes that share of calls`() {
      let faults = Faults([.init(call: .read, effect: .short, probability: 0.25)])
      let strikes = (0..<4000).count { _ in faults.strike(.read) != nil }
      #expect((800...1200).contains(strikes))
    }

    // MARK: -

    private func failure(_ body: () throws -> Void) -> Errno? {
      do {
        try body()
        return nil
      } catch {
        guard let error = error as? Errno else {
          Issue.record(error)
          return nil
        }
        return error
      }
    }

    private func states(_ disk: CowDisk) -> [BlockState] {
      (0..<disk.geometry.blockCount(for: disk.size)).map { disk.map.state(of: $0) }
    }

    /// After a failure each block is as it was, or as the verb makes it; the bytes of one that was and is allocated may be
    /// a mixture. Nothing else has changed.
    private func expectLegalRemains(
      of verb: Verb, _ rig: Rig, statesBefore: [BlockState], _ what: Comment
    ) throws {
      let old = rig.model
      var new = rig.model
      verb.run(on: &new)
      rig.expectCounted(what)
      // A write past the end may have made the disk grow; else the size is a matter of all or nothing.
      #expect(rig.disk.size == UInt64(old.size) || verb == .writePastTheEnd && rig.disk.size == UInt64(new.size), what)
      let statesAfter = states(rig.disk)
      let found = try rig.disk.contents()
      for (index, after) in statesAfter.enumerated() {
        let before = index < statesBefore.count ? statesBefore[index] : .unallocated
        let bytes = index * Self.blockSize..<min((index + 1) * Self.blockSize, found.count)
        let (oldBytes, newBytes) = (padded(old.bytes, bytes), padded(new.bytes, bytes))
        if before.isInOverlay, after == .allocated {
          let isMixture = bytes.allSatisfy {
            found[$0] == oldBytes[$0 - bytes.lowerBound] || found[$0] == newBytes[$0 - bytes.lowerBound]
          }
          #expect(isMixture, "\(what), block \(index)")
        } else if before == after || before == .cached && after == .unallocated {
          #expect(difference(Array(found[bytes]), oldBytes) == nil, "\(what), block \(index) is \(after)")
        } else {
          #expect(difference(Array(found[bytes]), newBytes) == nil, "\(what), block \(index) became \(after)")
        }
      }
    }

    /// Bytes of a disk, with the zeros that are behind its end.
    private func padded(_ bytes: [UInt8], _ range: Range<Int>) -> [UInt8] {
      let there = Array(bytes[range.clamped(to: 0..<bytes.count)])
      return there + zeros(range.count - there.count)
    }
  }

  /// A base in a file of its own, whose calls can be made to fail.
  private final class FileBase: BaseReader {
    let bytes: [UInt8]
    private let file: File

    var size: UInt64 { UInt64(bytes.count) }

    init(size: Int, hole: Range<Int>, faults: Faults) throws {
      var bytes = pattern(size)
      copy(zeros(hole.count)[...], into: &bytes, at: hole.lowerBound)
      var file = try File.scratch(in: scratchDirectory)
      try file.setLength(UInt64(size))
      try bytes.withUnsafeBytes { try file.writeFully($0, at: 0) }
      try file.punchHole(UInt64(hole.lowerBound)..<UInt64(hole.upperBound))
      file.faults = faults
      self.bytes = bytes
      self.file = file
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
      try file.readFully(into: buffer, at: offset)
    }

    func extent(at offset: UInt64) throws(Errno) -> Extent {
      guard let data = try file.nextData(from: offset), data < size else { return Extent(isData: false, end: size) }
      if data > offset { return Extent(isData: false, end: data) }
      return Extent(isData: true, end: min(size, try file.nextHole(from: offset)))
    }
  }
#endif
