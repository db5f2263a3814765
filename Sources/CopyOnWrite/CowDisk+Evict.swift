// Copies of the base make way: a write never fails for want of space that something takes which the base has, too.

internal import DiskIO
internal import Synchronization
internal import SystemPackage

extension CowDisk {
  /// The space that copies leave free, of an overlay that has room for `total` bytes: one part in sixteen, but no more than
  /// anybody needs in a hurry. So what a writer is given by evicting does not go to the next reader.
  static func spareSpace(of total: UInt64) -> UInt64 { min(total / 16, 256 << 20) }

  /// Runs `body`, and again as long as it finds no space and copies of the base can make way. The caller holds no lock.
  func makingWay<Result>(_ body: () throws(Errno) -> Result) throws(Errno) -> Result {
    while true {
      let before = pool.evictions.load(ordering: .relaxed)
      do throws(Errno) {
        return try body()
      } catch {
        guard error.isOutOfSpace else { throw error }
        // Another thread may have evicted the last copies, and left enough for this one.
        guard evict() || pool.evictions.load(ordering: .relaxed) != before else { throw error }
      }
    }
  }

  /// Gives up some copies, in the order of their places and once round. Those of frozen layers come first.
  ///
  /// - Returns: whether there were any.
  private func evict() -> Bool {
    guard cachedBytes > 0 else { return false }
    return evictionHand.withLock { hand in
      let wanted = max(spareSpace, geometry.blockSize)
      for frozen in pool.frozenLayers where frozen.evictCopies() > 0 { return true }
      let limit = geometry.blockCount(for: size)
      let start = min(hand, limit)
      var freed: UInt64 = 0
      for part in [start..<limit, 0..<start] {
        hand = part.lowerBound
        while hand < part.upperBound, freed < wanted {
          let run = map.run(at: hand, limit: part.upperBound)
          var end = run.end
          if run.state == .cached {
            end = min(end, stripes.endOfStretch(of: hand))
            freed += evict(hand..<end)
          }
          hand = end
        }
        if freed >= wanted { break }
      }
      return freed > 0
    }
  }

  /// Makes copies in one stretch unallocated again, and gives their space back.
  ///
  /// - Returns: how many bytes that were.
  private func evict(_ blocks: Range<UInt64>) -> UInt64 {
    var freed: UInt64 = 0
    let first = geometry.start(of: blocks.lowerBound)
    _ = try? locked(first..<first) { () throws(Errno) in
      try forEachRun(in: geometry.bytes(of: blocks)) { (state, bytes) throws(Errno) in
        guard state == .cached else { return }
        let run = geometry.blocks(touchedBy: bytes)
        try forEachPart(of: run) { (part, isSetAside) throws(Errno) in
          // What was set aside stays so: it makes room under the limit alone.
          guard !isSetAside || limit.bytes != nil else { return }
          let bytes = geometry.bytes(of: part)
          // The order: see `cached | evict` in the design note.
          map.set(part, to: .unallocated)
          pool.evictions.add(1, ordering: .sequentiallyConsistent)
          if !isSetAside { try? store.punch(bytes) }
          limit.giveBack(bytes.upperBound - bytes.lowerBound)
          freed += bytes.upperBound - bytes.lowerBound
        }
      }
    }
    return freed
  }
}
