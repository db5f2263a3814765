// What differs from the base, run by run, from the block map alone: no byte is read.

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
  /// - Parameter effort: most runs of blocks to look at. Stretches that nobody has touched count as one, however long.
  public func nextChange(from offset: UInt64, effort: Int = .max) -> ChangeSearch {
    let end = size
    // Loaded after the size: with the disk cut off in between, too much is left out at most.
    let hidden = min(visibleBase, end)..<min(max(base.size, visibleBase), end)
    let limit = geometry.blockCount(for: end)
    var position = offset
    var looks = 0
    while position < end {
      guard looks < effort else { return .noneBefore(position) }
      looks += 1
      let run = map.run(at: geometry.block(of: position), limit: limit)
      let runEnd = min(end, geometry.start(of: run.end))
      switch run.state {
      case .allocated: return .change(Change(bytes: position..<runEnd, isZeroed: false))
      case .zero: return .change(Change(bytes: position..<runEnd, isZeroed: true))
      case .unallocated, .cached:
        let cut = hidden.clamped(to: position..<runEnd)
        if !cut.isEmpty { return .change(Change(bytes: cut, isZeroed: true)) }
      }
      position = runEnd
    }
    return .none
  }
}
