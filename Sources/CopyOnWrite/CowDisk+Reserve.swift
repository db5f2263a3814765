// Reserving, which is what fallocate(2) without a mode promises: space that is set aside for blocks before anybody writes
// them. A map of its own says for which. In it `allocated` means that the space is there; what it says of blocks that the
// overlay has counts once they leave it: a copy of the base that gives way keeps space that was set aside.
//
// A reservation may reach beyond the disk's end, which moves only when the space is there. Until then the map and the
// overlay file have room for blocks that no reader or writer comes to, and only a cut could take them away: cuts and
// reservations exclude each other.

internal import DiskIO
internal import Synchronization
public import SystemPackage

extension CowDisk {
  /// Sets overlay space aside for every block in `range`, so that writing there cannot fail for want of it. What the blocks
  /// read as does not change. With ``Options/maxOverlay`` the limit is only looked at: others may use it up before these
  /// blocks are written.
  ///
  /// - Parameter growing: whether the disk becomes at least as long as the range reaches; else what lies beyond the disk's
  ///   end is left out.
  /// - Throws: `.noSpace`; `.fileTooLarge` as ``resize(to:)``; `.notSupportedOnSocket` (EOPNOTSUPP) where the overlay's file
  ///   system can set nothing aside. What was set aside before stays so then, nothing else is, and the disk has not grown.
  public func reserve(_ range: Range<UInt64>, growing: Bool = false) throws(Errno) {
    guard store.canReserve else { throw .notSupportedOnSocket }
    try reserving.withLock { (_) throws(Errno) in
      if growing { try makeRoom(for: range.upperBound) }
      let blocks = geometry.blocks(touchedBy: growing ? range : range.clamped(to: 0..<size))
      try checkSpace(for: blocks)
      var new = RangeSet<UInt64>()
      do throws(Errno) {
        try forEachStretch(of: blocks) { (part) throws(Errno) in try setAside(part, noting: &new) }
        if growing { try grow(toAtLeast: range.upperBound) }
      } catch {
        for range in new.ranges { try? forEachStretch(of: range) { (part) throws(Errno) in try giveBack(part) } }
        throw error
      }
    }
  }

  /// Looks whether there is space for these blocks, so that a request that cannot be met does not fill the file system for
  /// others on its way there. Copies of the base make way, but for those that are in these blocks themselves.
  private func checkSpace(for blocks: Range<UInt64>) throws(Errno) {
    var (counted, missing, copied): (UInt64, UInt64, UInt64) = (0, 0, 0)
    try forEachRun(in: geometry.bytes(of: blocks)) { (state, bytes) throws(Errno) in
      let count = bytes.upperBound - bytes.lowerBound
      if state == .cached { copied += count }
      guard !state.isInOverlay else { return }
      counted += count
      try forEachPart(of: geometry.blocks(touchedBy: bytes)) { (part, isSetAside) throws(Errno) in
        if !isSetAside { missing += (part.upperBound - part.lowerBound) << geometry.blockShift }
      }
    }
    let others = cachedBytes - min(cachedBytes, copied)
    guard counted <= limit.left.addingSaturated(others),
      missing <= (try store.availableSpace()).addingSaturated(others)
    else { throw .noSpace }
  }

  /// Sets space aside for blocks of one stretch.
  ///
  /// - Parameter new: gets the blocks that had none set aside before.
  private func setAside(_ blocks: Range<UInt64>, noting new: inout RangeSet<UInt64>) throws(Errno) {
    try makingWay { () throws(Errno) in
      try lockedAnywhere(blocks) { (state, part, isSetAside) throws(Errno) in
        guard !isSetAside else { return }
        let bytes = geometry.bytes(of: part)
        do throws(Errno) {
          if !state.isInOverlay { try store.reserve(bytes) }
        } catch {
          // Some of it may have been set aside.
          try? store.punch(bytes)
          throw error
        }
        reserved.set(part, to: .allocated)
        new.insert(contentsOf: part)
      }
    }
  }

  /// Takes back what ``setAside(_:noting:)`` did for blocks of one stretch, but for what was written or trimmed meanwhile.
  private func giveBack(_ blocks: Range<UInt64>) throws(Errno) {
    try lockedAnywhere(blocks) { (state, part, isSetAside) throws(Errno) in
      guard isSetAside else { return }
      reserved.set(part, to: .unallocated)
      if !state.isInOverlay { try? store.punch(geometry.bytes(of: part)) }
    }
  }

  /// Runs `body` for each run of blocks in one stretch that are of one state and alike set aside, under the stretch's lock.
  ///
  /// Not under the gate, and so the blocks may lie beyond the end. The caller sees to it that nothing is cut off meanwhile;
  /// growing changes no block.
  func lockedAnywhere(
    _ blocks: Range<UInt64>, _ body: (BlockState, Range<UInt64>, _ isSetAside: Bool) throws(Errno) -> Void
  ) throws(Errno) {
    try stripes.withLock(of: blocks.lowerBound) { () throws(Errno) in
      try forEachRun(in: geometry.bytes(of: blocks)) { (state, bytes) throws(Errno) in
        try forEachPart(of: geometry.blocks(touchedBy: bytes)) { (part, isSetAside) throws(Errno) in
          try body(state, part, isSetAside)
        }
      }
    }
  }

  // MARK: What is set aside

  /// Whether any of these blocks has space set aside.
  func isSetAside(anyOf blocks: Range<UInt64>) -> Bool {
    !blocks.isEmpty
      && reserved.run(at: blocks.lowerBound, limit: blocks.upperBound)
        != BlockRun(state: .unallocated, end: blocks.upperBound)
  }

  /// Hands out the parts of `blocks` that have space set aside, and those that have not.
  func forEachPart(
    of blocks: Range<UInt64>, _ body: (Range<UInt64>, _ isSetAside: Bool) throws(Errno) -> Void
  ) throws(Errno) {
    var block = blocks.lowerBound
    while block < blocks.upperBound {
      let run = reserved.run(at: block, limit: blocks.upperBound)
      try body(block..<run.end, run.state == .allocated)
      block = run.end
    }
  }

  /// Gives back the space of blocks that the overlay does not have, but for what was set aside. Should that fail, space is
  /// lost until the blocks are written or trimmed.
  func punchUnlessSetAside(_ blocks: Range<UInt64>) {
    try? forEachPart(of: blocks) { (part, isSetAside) throws(Errno) in
      if !isSetAside { try store.punch(geometry.bytes(of: part)) }
    }
  }
}
