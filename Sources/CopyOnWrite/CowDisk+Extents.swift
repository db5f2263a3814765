// Where the disk has data: base and overlay seen together.

internal import DiskIO
public import SystemPackage

extension CowDisk {
  /// The longest run from `offset` (below ``size``) on that is all data or all hole.
  ///
  /// A written block is data, a zero block is a hole, and any other is what the base has there, copied or not.
  public func extent(at offset: UInt64) throws(Errno) -> Extent {
    let end = size
    guard offset < end else { throw .noSuchAddressOrDevice }
    let first = try piece(at: offset, end: end)
    var stop = first.end
    while stop < end {
      let next = try piece(at: stop, end: end)
      if next.isData != first.isData { break }
      stop = next.end
    }
    return Extent(isData: first.isData, end: stop)
  }

  /// A run of one kind from one source; the next may be of the same kind.
  private func piece(at offset: UInt64, end: UInt64) throws(Errno) -> Extent {
    let run = map.run(at: geometry.block(of: offset), limit: geometry.blockCount(for: end))
    let runEnd = min(end, geometry.start(of: run.end))
    switch run.state {
    case .allocated: return Extent(isData: true, end: runEnd)
    case .zero: return Extent(isData: false, end: runEnd)
    case .unallocated, .cached:
      let extent = try baseExtent(at: offset)
      return Extent(isData: extent.isData, end: min(extent.end, runEnd))
    }
  }

  /// Whether the visible base has data in the blocks from `block` on, and the first block, at most `limit`, after those
  /// of which that is true. A block that is part hole, part data counts as data.
  func baseRun(at block: UInt64, limit: UInt64) throws(Errno) -> (isData: Bool, end: UInt64) {
    let extent = try baseExtent(at: geometry.start(of: block))
    let next = extent.isData ? geometry.blockCount(for: extent.end) : max(geometry.block(of: extent.end), block)
    return (extent.isData || next == block, min(limit, max(next, block + 1)))
  }

  /// What the visible base has at `offset`; an endless hole beyond it.
  func baseExtent(at offset: UInt64) throws(Errno) -> Extent {
    let visible = visibleBase
    guard offset < visible else { return Extent(isData: false, end: .max) }
    let extent = try base.extent(at: offset)
    if extent.end < visible { return extent }
    return Extent(isData: extent.isData, end: extent.isData ? visible : .max)
  }
}
