// Trim (discard, punch hole) and zero (write zeroes): for a throwaway overlay both mean "reads as zeros, takes no space".

internal import DiskIO
internal import Synchronization
public import SystemPackage

extension CowDisk {
  /// Makes `range` read as zeros and gives its overlay space back.
  ///
  /// Whole blocks take no space afterwards; the parts of blocks at either end are overwritten with zeros. Blocks that
  /// read as zeros anyway, because the base has a hole there, stay as they are: discarding an untouched sparse disk of
  /// terabytes costs nothing.
  ///
  /// - Parameter growing: whether the disk becomes at least as long as the range reaches; else what lies beyond the disk's
  ///   end is left out.
  /// - Throws: what the overlay or the base reports, or `.fileTooLarge` as ``resize(to:)``. Blocks before the one that failed
  ///   may read as zeros already; the disk has not grown.
  public func zero(_ range: Range<UInt64>, growing: Bool = false) throws(Errno) {
    if growing { try makeRoom(for: range.upperBound) }
    let size = size
    let inside = range.clamped(to: 0..<size)
    let split = geometry.split(inside, diskSize: size)
    try zeroPart(split.head)
    try zeroBlocks(split.body, upTo: inside.upperBound)
    try zeroPart(split.tail)
    // Last, and never backwards: who wrote beyond the end meanwhile has made it longer.
    if growing { try grow(toAtLeast: range.upperBound) }
  }

  /// Zeros part of one block. What a shrinking disk lost of it meanwhile is left out: it is zeros, and writing it would
  /// make the disk grow again.
  private func zeroPart(_ range: Range<UInt64>) throws(Errno) {
    guard !range.isEmpty, try !isHole(range) else { return }
    _ = try transition(range.lowerBound..<range.lowerBound) { () throws(Errno) in
      try zeroPartLocked(range.clamped(to: 0..<size))
    }
  }

  /// Zeros part of one block that is not a hole already.
  private func zeroPartLocked(_ range: Range<UInt64>) throws(Errno) {
    try forEachRun(in: range) { (state, bytes) throws(Errno) in
      switch state {
      case .allocated: try store.writeZeros(bytes)
      case .zero: break
      case .cached:
        adopt(bytes)
        try store.writeZeros(bytes)
      case .unallocated: try firstWrite(bytes, with: .zeros, state: state, becoming: .allocated)
      }
    }
  }

  /// Whether the range, which lies within one block, reads as zeros without anything being kept for it.
  private func isHole(_ range: Range<UInt64>) throws(Errno) -> Bool {
    switch map.state(of: geometry.block(of: range.lowerBound)) {
    case .allocated: false
    case .zero: true
    case .unallocated, .cached: try !baseHasData(in: range)
    }
  }

  private func baseHasData(in range: Range<UInt64>) throws(Errno) -> Bool {
    let extent = try baseExtent(at: range.lowerBound)
    return extent.isData || extent.end < range.upperBound
  }

  /// Zeros whole blocks. The last may be whole only because the disk ends in it, at `byteEnd`.
  private func zeroBlocks(_ blocks: Range<UInt64>, upTo byteEnd: UInt64) throws(Errno) {
    var block = blocks.lowerBound
    while block < blocks.upperBound {
      let (isData, end) = try baseRun(at: block, limit: blocks.upperBound)
      try isData ? zeroOverData(block..<end, upTo: byteEnd) : zeroOverHole(block..<end, upTo: byteEnd)
      block = end
    }
  }

  private func zeroOverData(_ blocks: Range<UInt64>, upTo byteEnd: UInt64) throws(Errno) {
    try forEachStretch(of: blocks) { (part) throws(Errno) in
      try zeroStretch(part, upTo: byteEnd, isBaseHole: false)
    }
  }

  /// Where the base has a hole, only blocks that the overlay has need work, and large untouched runs are skipped at once.
  private func zeroOverHole(_ blocks: Range<UInt64>, upTo byteEnd: UInt64) throws(Errno) {
    var block = blocks.lowerBound
    while block < blocks.upperBound {
      var run = map.run(at: block, limit: blocks.upperBound)
      var isWork = run.state.isInOverlay
      if !isWork {
        // Of what the overlay does not have, only what is set aside is looked at.
        run = reserved.run(at: block, limit: run.end)
        isWork = run.state == .allocated
      }
      if isWork {
        try forEachStretch(of: block..<run.end) { (part) throws(Errno) in
          try zeroStretch(part, upTo: byteEnd, isBaseHole: true)
        }
      }
      block = run.end
    }
  }

  func forEachStretch(
    of blocks: Range<UInt64>, _ body: (Range<UInt64>) throws(Errno) -> Void
  ) throws(Errno) {
    var block = blocks.lowerBound
    while block < blocks.upperBound {
      let end = min(blocks.upperBound, stripes.endOfStretch(of: block))
      try body(block..<end)
      block = end
    }
  }

  /// Zeros whole blocks of one stretch. Blocks that a shrinking disk lost meanwhile are left out: they are zeros.
  private func zeroStretch(_ blocks: Range<UInt64>, upTo byteEnd: UInt64, isBaseHole: Bool) throws(Errno) {
    let first = geometry.start(of: blocks.lowerBound)
    _ = try transition(first..<first) { () throws(Errno) in
      // Where the disk grew meanwhile, its former last block has bytes that nobody asked to zero.
      let hasOtherBytes = geometry.start(of: blocks.upperBound) > byteEnd && size > byteEnd
      let whole = blocks.lowerBound..<(hasOtherBytes ? blocks.upperBound - 1 : blocks.upperBound)
      try zeroWholeLocked(whole.clamped(to: 0..<geometry.blockCount(for: size)), isBaseHole: isBaseHole)
      if hasOtherBytes { try zeroPartLocked(geometry.start(of: whole.upperBound)..<byteEnd) }
    }
  }

  private func zeroWholeLocked(_ blocks: Range<UInt64>, isBaseHole: Bool) throws(Errno) {
    try forEachRun(in: geometry.bytes(of: blocks)) { (state, bytes) throws(Errno) in
      let run = geometry.blocks(touchedBy: bytes)
      // The state comes first. Whoever stores in place meanwhile sees it on looking again, and writes once more under the
      // lock. Had the hole come first, a store right after it would take space that no trim ever gave back.
      if state.isInOverlay || (state == .unallocated && !isBaseHole) { map.set(run, to: .zero) }
      do throws(Errno) {
        if state.isInOverlay || isSetAside(anyOf: run) { try store.punch(bytes) }
      } catch {
        // Part of a copy may be gone, and a copy is whole or none. The order: see `cached | evict` in the design note.
        map.set(run, to: state == .cached ? .unallocated : state)
        if state == .cached {
          pool.evictions.add(1, ordering: .sequentiallyConsistent)
          limit.giveBack(bytes.upperBound - bytes.lowerBound)
        }
        throw error
      }
      if isSetAside(anyOf: run) { reserved.set(run, to: .unallocated) }
      if state.isInOverlay { limit.giveBack(bytes.upperBound - bytes.lowerBound) }
    }
  }
}
