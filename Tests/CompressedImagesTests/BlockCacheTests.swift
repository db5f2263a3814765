// The cache of decompressed blocks: limits, who fills, who waits, and what becomes of failures.

import Glibc
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import CompressedImages

@Suite struct BlockCacheTests {
  /// A block's bytes all have its number.
  private func read(
    _ cache: BlockCache, _ block: Int, count: Int = 1000,
    fill: (Int) throws(Errno) -> Void = { _ in }
  ) throws(Errno) -> UInt8 {
    let target = UnsafeMutableRawBufferPointer.allocate(byteCount: 10, alignment: 16)
    defer { target.deallocate() }
    try cache.read(block: block, count: UInt64(count), from: UInt64(count - 10), into: target) {
      (memory) throws(Errno) in
      try fill(block)
      for index in memory.indices { memory[index] = UInt8(truncatingIfNeeded: block) }
    }
    return Set(target).count == 1 ? target[0] : 255
  }

  @Test func `a block is filled once, and again after it was evicted`() throws {
    let cache = BlockCache(maxBlocks: 2, maxBytes: 1 << 20)
    for block in [1, 1, 2, 1, 3, 1, 2] { #expect(try read(cache, block) == UInt8(block)) }
    // 1, 2, then 3 in the place of 2, then 2 in the place of 3.
    #expect(cache.counts.fills == 4)
    #expect(cache.counts.hits == 3)
    #expect(cache.counts.peakBlocks == 2)
  }

  @Test func `neither limit is exceeded, whatever the sizes`() throws {
    let cache = BlockCache(maxBlocks: 5, maxBytes: 10_000)
    try concurrently(8) { thread in
      var random = SeededGenerator(seed: testSeed &+ UInt64(thread))
      for _ in 0..<300 {
        let block = Int.random(in: 0..<20, using: &random)
        let value = try? self.read(cache, block, count: 10 + block * 300)
        #expect(value == UInt8(block), "seed \(testSeed)")
      }
    }
    #expect(cache.counts.peakBlocks <= 5)
    #expect(cache.counts.peakBytes <= 10_000)
    #expect(cache.counts.hits > 0)
  }

  @Test func `a block larger than the limit is let in alone`() throws {
    let cache = BlockCache(maxBlocks: 5, maxBytes: 1000)
    #expect(try read(cache, 1, count: 500) == 1)
    #expect(try read(cache, 2, count: 5000) == 2)
    #expect(cache.counts.bytes == 5000)
    #expect(try read(cache, 3, count: 500) == 3)
    #expect(cache.counts.bytes == 500)
  }

  @Test func `who asks for a block that is being filled waits for it`() throws {
    let cache = BlockCache(maxBlocks: 5, maxBytes: 1 << 20)
    let fills = Atomic(0)
    try concurrently(8) { _ in
      let value = try? self.read(cache, 7) { _ in
        fills.add(1, ordering: .relaxed)
        // Long enough for the others to come; who comes later yet finds it ready.
        usleep(50_000)
      }
      #expect(value == 7)
    }
    #expect(fills.load(ordering: .relaxed) == 1)
    #expect(cache.counts.fills == 1)
    #expect(cache.counts.hits + cache.counts.joins == 7)
  }

  @Test func `different blocks are filled at the same time`() throws {
    let cache = BlockCache(maxBlocks: 5, maxBytes: 1 << 20)
    let inside = Atomic(0)
    let met = Atomic(0)
    try concurrently(2) { thread in
      _ = try? self.read(cache, thread) { _ in
        inside.add(1, ordering: .sequentiallyConsistent)
        for _ in 0..<2000 {
          if inside.load(ordering: .sequentiallyConsistent) == 2 {
            met.add(1, ordering: .relaxed)
            return
          }
          usleep(1000)
        }
      }
    }
    #expect(met.load(ordering: .relaxed) == 2)
  }

  @Test func `a failure goes to all who wait, is not kept, and takes no room`() throws {
    let cache = BlockCache(maxBlocks: 1, maxBytes: 1000)
    let failures = Atomic(0)
    try concurrently(4) { _ in
      do throws(Errno) {
        _ = try self.read(cache, 3) { (_) throws(Errno) in
          usleep(50_000)
          throw .ioError
        }
      } catch {
        if error == .ioError { failures.add(1, ordering: .relaxed) }
      }
    }
    #expect(failures.load(ordering: .relaxed) == 4)
    #expect(cache.counts.bytes == 0)
    #expect(try read(cache, 3) == 3)
    #expect(try read(cache, 4) == 4)
  }

  @Test func `a block that nobody can have memory for is ENOMEM`() {
    let cache = BlockCache(maxBlocks: 2, maxBytes: .max)
    #expect(throws: Errno.noMemory) { try read(cache, 1, count: Int.max - 4096) }
    #expect((try? read(cache, 1)) == 1)
  }
}
