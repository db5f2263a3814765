// What holds of checkpoints beyond their bytes: space, limits, copies, how many there can be.

@testable import DiskIO
import Glibc
import Synchronization
import SystemPackage
import TestSupport
import Testing
import Threads

@testable import CopyOnWrite

private func scratch() throws -> File { try File.scratch(in: scratchDirectory) }

@Suite struct LayerTests {
  @Test func `a checkpoint keeps what was, and the disk goes on`() throws {
    let base = TestBase(pattern(1 << 20))
    let disk = try makeDisk(over: base)
    try disk.write(filled(1, 8192), at: 4096)
    let first = try disk.checkpoint(in: scratch())
    try disk.write(filled(2, 4096), at: 8192)
    try disk.zero(0..<4096)
    try disk.resize(to: 3 << 20)
    #expect(difference(try first.contents(), base.bytes[..<4096] + filled(1, 8192) + base.bytes[12288...]) == nil)
    #expect(first.size == 1 << 20 && disk.size == 3 << 20)
    #expect(difference(try disk.bytes(0..<12288), zeros(4096) + filled(1, 4096) + filled(2, 4096)) == nil)
    #expect(disk.liesOn(first))
    try disk.expectSound()
  }

  @Test func `a reset takes the size with it, and another branch stays`() throws {
    let disk = try makeDisk(over: TestBase(pattern(100_000)))
    try disk.write(filled(1, 100), at: 0)
    let one = try disk.checkpoint(in: scratch())
    try disk.resize(to: 5000)
    try disk.write(filled(2, 100), at: 0)
    let two = try disk.checkpoint(in: scratch())
    try disk.reset(to: one, in: scratch())
    #expect(disk.size == 100_000)
    #expect(try disk.bytes(0..<100) == filled(1, 100))
    #expect(!disk.liesOn(two))
    try disk.reset(to: two, in: scratch())
    #expect(disk.size == 5000)
    #expect(try disk.bytes(0..<100) == filled(2, 100))
    try disk.reset(to: nil, in: scratch())
    #expect(try disk.bytes(0..<100) == Array(pattern(100_000)[..<100]))
    #expect(try one.contents()[..<100] == filled(1, 100)[...])
    try disk.expectSound()
  }

  @Test func `one limit holds for all layers`() throws {
    let disk = try makeDisk(over: HollowBase(size: 1 << 20), options: .init(maxOverlay: 5 * 4096))
    try disk.write(filled(1, 2 * 4096), at: 0)
    let checkpoint = try disk.checkpoint(in: scratch())
    try disk.write(filled(2, 3 * 4096), at: 0)
    #expect(throws: Errno.noSpace) { try disk.write(filled(3, 4096), at: 1 << 16) }
    try disk.reset(to: checkpoint, in: scratch())
    try disk.write(filled(3, 3 * 4096), at: 1 << 16)
    #expect(disk.allocatedBytes == 5 * 4096)
    try disk.expectSound()
  }

  @Test func `rounds of checkpoint, write, reset and delete leave nothing behind`() throws {
    let disk = try makeDisk(over: TestBase(pattern(1 << 20)))
    try disk.write(filled(1, 65536), at: 0)
    let used = try disk.usedSpace()
    for round in 0..<1000 {
      var checkpoint: Checkpoint? = try disk.checkpoint(in: scratch())
      try disk.write(filled(UInt8(round % 250 + 2), 4096), at: UInt64(round % 256) * 4096)
      if round % 2 == 0 { try disk.reset(to: checkpoint, in: scratch()) }
      checkpoint = nil
      try disk.mergeLayers()
      #expect(disk.layerCount == 1)
    }
    // All blocks are written by now at most.
    #expect(try disk.usedSpace() <= used + 1 << 20 + 65536)
    try disk.expectSound()
    try disk.reset(to: nil, in: scratch())
    #expect(try disk.usedSpace() <= 65536)
  }

  @Test func `there is room for a thousand checkpoints of a large disk`() throws {
    let disk = try makeDisk(over: HollowBase(size: 15 << 40))
    var checkpoints: [Checkpoint] = []
    for round in 0..<1000 {
      try disk.write(filled(UInt8(round % 250 + 1), 4096), at: UInt64(round) << 30)
      checkpoints.append(try disk.checkpoint(in: scratch()))
    }
    for round in [0, 1, 499, 998, 999] {
      #expect(try disk.bytes(UInt64(round) << 30..<UInt64(round) << 30 + 4096) == filled(UInt8(round % 250 + 1), 4096))
    }
    #expect(disk.layerCount == 1001)
    checkpoints = []
    try disk.mergeLayers()
    #expect(disk.layerCount == 1)
    #expect(disk.allocatedBytes == 1000 * 4096)
  }

  @Test func `copies of the image survive a checkpoint, and a reset to where the disk was`() throws {
    let base = TestBase(pattern(1 << 20))
    let disk = try makeDisk(over: base, options: .init(copyOnRead: .always))
    _ = try disk.contents()
    let reads = base.reads
    let checkpoint = try disk.checkpoint(in: scratch())
    #expect(difference(try disk.contents(), base.bytes) == nil)
    #expect(base.reads == reads && disk.cachedBytes == 1 << 20)
    try disk.write(filled(1, 4096), at: 0)
    try disk.reset(to: checkpoint, in: scratch())
    #expect(difference(try disk.contents(), base.bytes) == nil)
    #expect(base.reads == reads)
    try disk.expectSound()
  }

  @Test func `copies survive a reset of a disk without checkpoints`() throws {
    let base = TestBase(pattern(130_000))
    let disk = try makeDisk(over: base, options: .init(copyOnRead: .always))
    _ = try disk.contents()
    // Cuts a copy in two, and hides the image behind it.
    try disk.resize(to: 6000)
    try disk.write(filled(9, 100), at: 0)
    try disk.resize(to: 8000)
    _ = try disk.contents()
    try disk.reset(to: nil, in: scratch())
    #expect(difference(try disk.contents(), base.bytes) == nil)
    let reads = base.reads
    try disk.reset(to: nil, in: scratch())
    #expect(difference(try disk.contents(), base.bytes) == nil)
    #expect(base.reads == reads)
    try disk.expectSound()
  }

  /// Where the disk fills its pages of the block map, there is none behind them.
  @Test func `copies survive a reset of a disk that fills its block map`() throws {
    let size = Int(BlockMap.blocksPerPage) * 4096
    let disk = try makeDisk(over: TestBase(pattern(size)), options: .init(copyOnRead: .always))
    _ = try disk.bytes(0..<4096)
    try disk.write(filled(1, 4096), at: UInt64(size) - 4096)
    try disk.reset(to: nil, in: scratch())
    #expect(disk.cachedBytes == 4096 && disk.allocatedBytes == 0)
    try disk.write(filled(1, 4096), at: UInt64(2 * size) - 4096)
    try disk.reset(to: nil, in: scratch())
    #expect(disk.cachedBytes == 4096 && disk.allocatedBytes == 0 && disk.size == UInt64(size))
    try disk.expectSound()
  }

  @Test func `copies in frozen layers make way for writers`() throws {
    let base = TestBase(pattern(16 * 4096))
    let disk = try makeDisk(over: base, options: .init(maxOverlay: 20 * 4096, copyOnRead: .always))
    _ = try disk.contents()
    let checkpoint = try disk.checkpoint(in: scratch())
    #expect(disk.cachedBytes == 16 * 4096)
    try disk.write(filled(1, 16 * 4096), at: 0)
    #expect(disk.cachedBytes == 0)
    #expect(difference(try checkpoint.contents(), base.bytes) == nil)
    try disk.expectSound()
  }

  @Test func `space that was set aside is given back at a checkpoint`() throws {
    let disk = try makeDisk(over: HollowBase(size: 8 << 20), access: .unmapped)
    try disk.reserve(0..<4 << 20)
    #expect(try disk.usedSpace() >= 4 << 20)
    let checkpoint = try disk.checkpoint(in: scratch())
    #expect(try disk.usedSpace() < 1 << 20)
    try disk.expectSound()
    withExtendedLifetime(checkpoint) {}
  }

  @Test func `space that was set aside survives merging, and no reset`() throws {
    let base = TestBase(pattern(8 << 20))
    let disk = try makeDisk(over: base, access: .unmapped, options: .init(copyOnRead: .always))
    var checkpoint: Checkpoint? = try disk.checkpoint(in: scratch())
    try disk.reserve(0..<4 << 20)
    #expect(checkpoint?.size == 8 << 20)
    checkpoint = nil
    try disk.mergeLayers()
    #expect(disk.layerCount == 1)
    #expect(try disk.usedSpace() >= 4 << 20)
    // With a copy to keep, the layer stays.
    _ = try disk.bytes(6 << 20..<6 << 20 + 4096)
    try disk.reset(to: nil, in: scratch())
    #expect(try disk.usedSpace() < 1 << 20)
    try disk.expectSound()
  }

  @Test func `merging that finds no space leaves all as it was`() throws {
    let disk = try makeDisk(over: HollowBase(size: 64 << 20), options: .init(maxOverlay: 12 << 20))
    try disk.write(filled(1, 8 << 20), at: 0)
    var checkpoint: Checkpoint? = try disk.checkpoint(in: scratch())
    try disk.write(filled(2, 4 << 20), at: 16 << 20)
    #expect(checkpoint?.size == 64 << 20)
    checkpoint = nil
    #expect(throws: Errno.noSpace) { try disk.mergeLayers() }
    #expect(difference(try disk.bytes(0..<8 << 20), filled(1, 8 << 20)) == nil)
    #expect(difference(try disk.bytes(16 << 20..<20 << 20), filled(2, 4 << 20)) == nil)
    try disk.expectSound()
    // With space it goes on.
    try disk.zero(16 << 20..<20 << 20)
    try disk.mergeLayers()
    #expect(disk.layerCount == 1)
    #expect(difference(try disk.bytes(0..<8 << 20), filled(1, 8 << 20)) == nil)
    try disk.expectSound()
  }

  @Test func `a checkpoint that a request stands in the way of is refused, and nothing has changed`() throws {
    let disk = try makeDisk(over: HollowBase(size: 1 << 20))
    let lane = disk.requests.makeLane()
    lane.enter()
    #expect(throws: Errno.resourceBusy) { try disk.checkpoint(in: scratch(), patience: .zero) }
    lane.leave()
    #expect(disk.layerCount == 1)
    _ = try disk.checkpoint(in: scratch(), patience: .zero)
  }
}

/// Freezing, with writers at it.
@Suite struct FreezeTests {
  /// Each writer counts up in its own few blocks, in place after the first round. Whatever moment a checkpoint catches, it has
  /// all writes up to one of them and none after it.
  @Test(arguments: StoreAccess.allCases) func `a checkpoint is one moment`(access: StoreAccess) throws {
    guard !isThreadSanitized else { return }
    let blocks: UInt64 = 8
    let disk = try makeDisk(over: HollowBase(size: 4 << 20), access: access)
    let isDone = Atomic(false)
    let writers = (0..<2 as Range<UInt64>).map { writer in
      TestThread {
        let lane = disk.requests.makeLane()
        var number: UInt64 = 0
        while !isDone.load(ordering: .relaxed) {
          number += 1
          let bytes = withUnsafeBytes(of: number) { [UInt8]($0) }
          try lane.pass { try disk.write(bytes, at: (writer * blocks + number % blocks) * 4096) }
        }
      }
    }
    for _ in 0..<150 {
      let checkpoint = try disk.checkpoint(in: scratch())
      for writer in 0..<2 as Range<UInt64> {
        var numbers: [UInt64] = []
        for block in 0..<blocks {
          var number: UInt64 = 0
          try withUnsafeMutableBytes(of: &number) { (bytes) throws(Errno) in
            try checkpoint.read(into: bytes, at: (writer * blocks + block) * 4096)
          }
          numbers.append(number)
        }
        let newest = numbers.max() ?? 0
        for (block, number) in numbers.enumerated() {
          // The last number at or before the newest that belongs into this block; none before the first round.
          let expected = Int(newest) - (Int(newest) + Int(blocks) - block) % Int(blocks)
          #expect(Int(number) == max(0, expected))
        }
      }
      if Bool.random() { try disk.mergeLayers() }
    }
    isDone.store(true, ordering: .relaxed)
    for writer in writers { try writer.join() }
    try disk.mergeLayers()
    try disk.expectSound()
  }

  /// Layers merge under writers and readers, upwards and downwards, and nobody notices.
  @Test func `merging goes unnoticed`() throws {
    guard !isThreadSanitized else { return }
    let base = TestBase(pattern(8 << 20))
    let disk = try makeDisk(over: base)
    let isDone = Atomic(false)
    // One half of each MiB is written by one thread that reads it back, the other half never changes.
    let worker = TestThread {
      let lane = disk.requests.makeLane()
      var round: UInt64 = 0
      while !isDone.load(ordering: .relaxed) {
        round += 1
        let place = (((round * 37) % 8) << 20) + ((round * 4096 * 5) % (496 << 10))
        let bytes = filled(UInt8(round % 250 + 1), 8192)
        try lane.pass { try disk.write(bytes, at: place) }
        let found = try lane.pass { try disk.bytes(place..<place + 8192) }
        try check(difference(found, bytes) == nil, "written at \(place): \(difference(found, bytes) ?? "")")
        let still = (((round * 11) % 8) << 20) + (512 << 10) + ((round * 4096 * 3) % (512 << 10))
        let unchanged = try lane.pass { try disk.bytes(still..<still + 4096) }
        let expected = Array(base.bytes[Int(still)..<Int(still) + 4096])
        try check(difference(unchanged, expected) == nil, "base at \(still)")
      }
    }
    var kept: [Checkpoint] = []
    for round in 0..<60 {
      kept.append(try disk.checkpoint(in: scratch()))
      usleep(2000)
      if round % 3 == 0 { kept.remove(at: round % kept.count) }
      if round % 7 == 0 { kept.removeAll() }
      try disk.mergeLayers()
    }
    isDone.store(true, ordering: .relaxed)
    try worker.join()
    kept = []
    try disk.mergeLayers()
    #expect(disk.layerCount == 1)
    try disk.expectSound()
  }
}
