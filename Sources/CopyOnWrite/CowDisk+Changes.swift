// What differs from the base or from a checkpoint, run by run, from the block maps alone: no byte is read.

internal import Synchronization

extension CowDisk {
  /// Bytes that are not the base's any more.
  public struct Change: Equatable, Sendable {
    /// Which; never empty, and never beyond the disk's end.
    public let bytes: Range<UInt64>
    /// Whether they read as zeros and take no space; else something was written.
    public let isZeroed: Bool
  }

  /// What a look for changes found.
  public enum ChangeSearch: Equatable, Sendable {
    /// The next change.
    case change(Change)
    /// None before this place, which is as far as was looked.
    case noneBefore(UInt64)
    /// None up to the disk's end.
    case none
  }

  /// The next run from `offset` on that was changed in one way; the run after it may have been changed in the same way.
  ///
  /// A copy of the base is no change. Base bytes that were cut off, and that the disk has grown over again, are zeroed; what
  /// lies beyond the base's end and was never written is none. Others may change the disk meanwhile.
  ///
  /// - Parameters:
  ///   - effort: most runs of blocks to look at. Stretches that nobody has touched count as one, however long.
  ///   - since: a checkpoint that the disk lies on; nil for the image.
  public func nextChange(from offset: UInt64, effort: Int = .max, since: Checkpoint? = nil) -> ChangeSearch {
    top.pointee.nextChange(from: offset, end: size, effort: effort, since: since?.layer)
  }
}

extension Checkpoint {
  /// As ``CowDisk/nextChange(from:effort:since:)``, of what the disk was then.
  public func nextChange(
    from offset: UInt64, effort: Int = .max, since: Checkpoint? = nil
  ) -> CowDisk.ChangeSearch {
    layer.layer.pointee.nextChange(from: offset, end: size, effort: effort, since: since?.layer)
  }

  /// Whether it lies on another checkpoint, at any depth.
  public func liesOn(_ other: Checkpoint) -> Bool { layer.layer.pointee.liesOn(other.layer) }
}

extension Layer {
  fileprivate func nextChange(
    from offset: UInt64, end: UInt64, effort: Int, since: FrozenLayer?
  ) -> CowDisk.ChangeSearch {
    var position = offset
    var looks = 0
    while position < end {
      guard looks < effort else { return .noneBefore(position) }
      looks += 1
      let run = change(at: position, end: end, since: since)
      if let isZeroed = run.isZeroed {
        return .change(CowDisk.Change(bytes: position..<run.end, isZeroed: isZeroed))
      }
      position = run.end
    }
    return .none
  }

  /// What became of the bytes at `position`, nil where nothing did, and where that stops being so.
  private func change(at position: UInt64, end: UInt64, since: FrozenLayer?) -> (isZeroed: Bool?, end: UInt64) {
    let run = map.run(at: geometry.block(of: position), limit: geometry.blockCount(for: end))
    let runEnd = min(end, geometry.start(of: run.end))
    switch run.state {
    case .allocated: return (false, runEnd)
    case .zero: return (true, runEnd)
    case .unallocated, .cached: break
    }
    let visible = visibleBelow.load(ordering: .acquiring)
    guard position >= visible else {
      guard let below, below !== since else { return (nil, min(runEnd, visible)) }
      return below.layer.pointee.change(at: position, end: min(runEnd, visible), since: since)
    }
    // Cut off, and grown over again.
    let hidden = since?.size ?? pool.image.size
    return position < hidden ? (true, min(runEnd, hidden)) : (nil, runEnd)
  }
}
