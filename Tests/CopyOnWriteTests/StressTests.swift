// Many threads on few blocks. What they may see is said byte by byte: no lock covers bytes that two of them touch at once,
// here as on any disk, so a sector can be seen half old and half new, but never with bytes that nobody put there, and
// never with bytes older than what was seen before.

import Glibc
import Synchronization
import TestSupport
import Testing

@testable import CopyOnWrite

@Suite struct StressTests {
  /// The thread sanitizer sees copies to and from the mapping; through pread and pwrite the kernel does the copying.
  private static let accesses: [StoreAccess] = isThreadSanitized ? [.unmapped, .plain] : StoreAccess.allCases

  // MARK: Disjoint bytes

  @Test(arguments: StoreAccess.allCases)
  func `threads that write disjoint bytes of the same blocks lose none of them`(access: StoreAccess) throws {
    let (threads, piece, pieces) = (4, 100, 640)
    let base = TestBase(pattern(threads * pieces * piece / 2))
    for round in 0..<6 as Range<UInt64> {
      let disk = try makeDisk(over: base, blockSize: round % 2 == 0 ? 4096 : 65536, access: access)
      try disk.resize(to: UInt64(threads * pieces * piece))
      try concurrently(threads) { index in
        var generator = SeededGenerator(seed: round << 8 | UInt64(index))
        // Each in an order of its own, so that first writes of a block come from all of them at once.
        for place in (0..<pieces).shuffled(using: &generator) {
          let start = UInt64((place * threads + index) * piece)
          if index == threads - 1 {
            try disk.zero(start..<start + UInt64(piece))
          } else {
            try disk.write(filled(UInt8(index + 1), piece), at: start)
          }
        }
      }
      var expected: [UInt8] = []
      for place in 0..<threads * pieces {
        expected += filled(UInt8((place % threads + 1) % threads), piece)
      }
      let found = difference(try disk.contents(), expected)
      #expect(found == nil, "round \(round)")
      try disk.expectSound()
    }
  }

  @Test(arguments: StoreAccess.allCases)
  func `threads that write whole blocks and parts of their neighbours lose none of them`(access: StoreAccess) throws {
    let (blocks, blockSize) = (64, 4096)
    for round in 0..<10 as Range<UInt64> {
      let disk = try makeDisk(over: TestBase(pattern(blocks * blockSize)), access: access)
      try concurrently(4) { index in
        var generator = SeededGenerator(seed: round << 8 | UInt64(index))
        for block in (0..<blocks).shuffled(using: &generator) {
          let start = UInt64(block * blockSize)
          if block % 2 == 0 {
            // A quarter each.
            try disk.write(filled(UInt8(index + 1), blockSize / 4), at: start + UInt64(index * blockSize / 4))
          } else if index == block / 2 % 4 {
            try disk.write(filled(UInt8(index + 1), blockSize), at: start)
          }
        }
      }
      let found = try disk.contents()
      for block in 0..<blocks {
        for quarter in 0..<4 {
          let start = block * blockSize + quarter * blockSize / 4
          let owner = block % 2 == 0 ? quarter : block / 2 % 4
          let part = Array(found[start..<start + blockSize / 4])
          let wrong = difference(part, filled(UInt8(owner + 1), blockSize / 4))
          #expect(wrong == nil, "block \(block), round \(round)")
        }
      }
      try disk.expectSound()
    }
  }

  // MARK: The same bytes

  private static let sectorSize = 512
  private static let blockSize = 4096
  private static let blocks = 8
  private static let sectors = blocks * blockSize / sectorSize
  /// What the base holds everywhere; no writer writes it.
  private static let baseByte: UInt8 = 255

  /// What one reader saw of the disk so far.
  private struct Memory {
    /// The oldest tag in each sector when it was last seen, 0 for none.
    private var tags = [UInt8](repeating: 0, count: sectors)
    /// Whether the sector was seen without a byte of the base.
    private var hasLeftBase = [Bool](repeating: false, count: sectors)

    /// Checks that a sector's bytes may follow what was seen before.
    mutating func look(at bytes: ArraySlice<UInt8>, sector: Int, newest: UInt8) throws {
      let kinds = Set(bytes)
      let hasBase = kinds.contains(baseByte)
      try check(!(hasBase && hasLeftBase[sector]), "the base came back in sector \(sector)")
      hasLeftBase[sector] = !hasBase
      let seen = kinds.subtracting([0, baseByte])
      let oldest = tags[sector]
      try check(
        seen.allSatisfy { (oldest...newest).contains($0) },
        "sector \(sector) has \(seen.sorted()), but had \(oldest) before")
      tags[sector] = max(oldest, seen.min() ?? 0)
    }
  }

  @Test(arguments: accesses)
  func `writers, trims and readers of the same blocks see nothing old or foreign`(access: StoreAccess) throws {
    let lastTag: UInt8 = 200
    let base = TestBase(filled(Self.baseByte, Self.blocks * Self.blockSize))
    let disk = try makeDisk(over: base, access: access)
    let writersLeft = Atomic(2)
    try concurrently(5) { index in
      switch index {
      case 0, 1:
        // Every other sector is this writer's: one byte value after the other, each complete before the next begins.
        for tag in 1...lastTag {
          for sector in stride(from: index, to: Self.sectors, by: 2) {
            try disk.write(filled(tag, Self.sectorSize), at: UInt64(sector * Self.sectorSize))
          }
        }
        writersLeft.subtract(1, ordering: .sequentiallyConsistent)
      case 2, 3:
        var generator = SeededGenerator(seed: testSeed &+ UInt64(index))
        while writersLeft.load(ordering: .sequentiallyConsistent) > 0 {
          let block = UInt64.random(in: 0..<UInt64(Self.blocks), using: &generator)
          let end = UInt64.random(in: block + 1...UInt64(Self.blocks), using: &generator)
          try disk.zero(block * UInt64(Self.blockSize)..<end * UInt64(Self.blockSize))
        }
      default:
        var memory = Memory()
        repeat {
          let bytes = try disk.contents()
          for sector in 0..<Self.sectors {
            let part = bytes[sector * Self.sectorSize..<(sector + 1) * Self.sectorSize]
            try memory.look(at: part, sector: sector, newest: lastTag)
          }
        } while writersLeft.load(ordering: .sequentiallyConsistent) > 0
      }
    }
    // All is quiet: what was written last, or zeros where a trim came later.
    #expect(Set(try disk.contents()).isSubset(of: [0, lastTag]))
    try disk.expectSound()
    try disk.zero(0..<disk.size)
    #expect(disk.allocatedBytes == 0)
    #expect(Set(try disk.contents()) == [0])
  }

  /// Writers make copies give way while others read them; no reader may find the hole that is left.
  @Test(arguments: accesses.filter { $0 != .plain })
  func `readers of copies see the base's bytes while copies give way`(access: StoreAccess) throws {
    let (written, read) = (36, 48)
    let base = TestBase(pattern((written + read) * Self.blockSize))
    let disk = try makeDisk(
      over: base, access: access, options: .init(maxOverlay: UInt64(40 * Self.blockSize), copyOnRead: .always))
    let start = UInt64(written * Self.blockSize)
    let writersLeft = Atomic(1)
    try concurrently(4) { index in
      var generator = SeededGenerator(seed: testSeed &+ UInt64(index))
      if index == 0 {
        let bytes = filled(7, written * Self.blockSize)
        for _ in 0..<25 {
          // There must be copies, or nothing gives way.
          var turns = 0
          while disk.cachedBytes < UInt64(20 * Self.blockSize), turns < 1_000_000 {
            sched_yield()
            turns += 1
          }
          try disk.write(bytes, at: 0)
          try disk.zero(0..<start)
        }
        writersLeft.subtract(1, ordering: .sequentiallyConsistent)
      } else {
        while writersLeft.load(ordering: .sequentiallyConsistent) > 0 {
          let from = UInt64.random(in: start..<disk.size, using: &generator)
          let range = from..<min(disk.size, from + UInt64.random(in: 1...60_000, using: &generator))
          let expected = Array(base.bytes[Int(range.lowerBound)..<Int(range.upperBound)])
          let found = difference(try disk.bytes(range), expected)
          try check(found == nil, "\(range): \(found ?? "")")
        }
      }
    }
    let evictions = disk.evictions.load(ordering: .relaxed)
    #expect(evictions >= 25, "there were \(evictions) evictions: nothing was tested")
    try disk.expectSound()
  }

  /// As above, and blocks are written and trimmed while they are copied.
  @Test(arguments: accesses)
  func `reads that copy never bring back what was written over`(access: StoreAccess) throws {
    let size = UInt64(Self.blocks * Self.blockSize)
    for round in 0..<40 as Range<UInt64> {
      let disk = try makeDisk(
        over: TestBase(filled(Self.baseByte, Int(size))), access: access, options: .init(copyOnRead: .always))
      try concurrently(4) { index in
        var generator = SeededGenerator(seed: testSeed &+ UInt64(index) &+ round << 8)
        for block in (0..<UInt64(Self.blocks)).shuffled(using: &generator) {
          let start = block * UInt64(Self.blockSize)
          if index > 1 {
            _ = try disk.bytes(start..<start + UInt64(Self.blockSize))
          } else if block % 2 == UInt64(index) {
            try disk.write(filled(1, Self.blockSize), at: start)
            try check(try disk.bytes(start..<start + 1) == [1], "block \(block) is not what was written")
          } else if block % 4 == UInt64(index) {
            try disk.zero(start..<start + UInt64(Self.blockSize))
          }
        }
      }
      let found = try disk.contents()
      for block in 0..<Self.blocks {
        let bytes = Set(found[block * Self.blockSize..<(block + 1) * Self.blockSize])
        #expect(bytes == [1] || bytes == [0] && block % 4 < 2, "block \(block) has \(bytes)")
      }
      try disk.expectSound()
    }
  }

  /// A store that comes too late for its block must not take space that no trim gives back any more.
  @Test(arguments: accesses.filter { $0 != .plain })
  func `trims give the space back while others write in place`(access: StoreAccess) throws {
    // Long writes, so that trims come in their middle.
    let size = 64 * Self.blockSize
    let disk = try makeDisk(over: TestBase(filled(Self.baseByte, size)), access: access)
    for _ in 0..<250 {
      // Trims go on until the last write is done: a later first write of the block would cover up what was taken.
      let writersLeft = Atomic(2)
      try concurrently(3) { index in
        if index == 0 {
          repeat { try disk.zero(0..<UInt64(size)) } while writersLeft.load(ordering: .sequentiallyConsistent) > 0
        } else {
          let bytes = filled(UInt8(index), size / 2)
          for round in 0..<4 { try disk.write(bytes, at: UInt64(round % 2 * size / 2)) }
          writersLeft.subtract(1, ordering: .sequentiallyConsistent)
        }
      }
      try disk.zero(0..<UInt64(size))
      let used = try disk.usedSpace()
      try #require(used < UInt64(Self.blockSize), "\(used) bytes are in use and no block is")
    }
  }

  @Test(arguments: accesses)
  func `writers, trims and readers live with a disk that shrinks and grows`(access: StoreAccess) throws {
    let size = UInt64(Self.blocks * Self.blockSize)
    let disk = try makeDisk(over: TestBase(filled(Self.baseByte, Int(size))), access: access)
    try concurrently(5) { index in
      var generator = SeededGenerator(seed: testSeed &+ UInt64(index))
      for round in 0..<400 {
        let start = UInt64.random(in: 0..<size - 3000, using: &generator)
        let range = start..<start + UInt64.random(in: 1...3000, using: &generator)
        switch index {
        case 0, 1: try disk.write(filled(UInt8(index + 1), range.count), at: start)
        case 2: try disk.zero(range.clamped(to: 0..<disk.size))
        case 3: try disk.resize(to: round % 2 == 0 ? start : size)
        default:
          let bytes = try disk.bytes(range.clamped(to: 0..<disk.size))
          try check(Set(bytes).isSubset(of: [0, 1, 2, Self.baseByte]), "\(range) has \(Set(bytes).sorted())")
        }
      }
    }
    try disk.expectSound()
    // Nothing that was ever cut off is still there.
    try disk.resize(to: 0)
    #expect(disk.allocatedBytes == 0)
    try disk.resize(to: size)
    #expect(Set(try disk.contents()) == [0])
    #expect(try disk.extent(at: 0) == Extent(isData: false, end: size))
  }

  /// A cut hides the base before it clears the states. The more of them there are, the longer that takes.
  @Test func `what is cut off is never the base's again while it goes`() throws {
    let (pages, page) = (1200 as UInt64, BlockMap.blocksPerPage * UInt64(Self.blockSize))
    for round in 0..<3 {
      let disk = try makeDisk(over: FullBase(size: pages * page, byte: Self.baseByte))
      // Zeros in every other page of the map, so that each is cleared by itself, the first of them first.
      for index in stride(from: 0, to: pages, by: 2) {
        try disk.zero(index * page..<index * page + UInt64(Self.blockSize))
      }
      let isCut = Atomic(false)
      try concurrently(2) { index in
        if index == 0 {
          sched_yield()
          try disk.resize(to: 0)
          isCut.store(true, ordering: .sequentiallyConsistent)
        } else {
          // The size is one that the disk had a moment ago.
          repeat {
            try check(try disk.bytes(0..<1) == [0], "the base came back in round \(round)")
          } while !isCut.load(ordering: .sequentiallyConsistent)
        }
      }
      try disk.expectSound()
    }
  }
}

/// A base of any size that has the same byte everywhere.
private final class FullBase: BaseReader {
  let size: UInt64
  private let byte: UInt8

  init(size: UInt64, byte: UInt8) {
    self.size = size
    self.byte = byte
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) {
    buffer.initializeMemory(as: UInt8.self, repeating: byte)
  }

  func extent(at offset: UInt64) -> Extent { Extent(isData: true, end: size) }
}
