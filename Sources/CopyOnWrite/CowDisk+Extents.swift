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
    return try top.pointee.extent(at: offset, end: end)
  }

  /// Whether the visible base has data in the blocks from `block` on, and the first block, at most `limit`, after those
  /// of which that is true. A block that is part hole, part data counts as data.
  func baseRun(at block: UInt64, limit: UInt64) throws(Errno) -> (isData: Bool, end: UInt64) {
    let extent = try baseExtent(at: geometry.start(of: block))
    let next = extent.isData ? geometry.blockCount(for: extent.end) : max(geometry.block(of: extent.end), block)
    return (extent.isData || next == block, min(limit, max(next, block + 1)))
  }

  /// What can be seen below the top layer at `offset`; an endless hole beyond it.
  func baseExtent(at offset: UInt64) throws(Errno) -> Extent { try top.pointee.extentBelow(at: offset) }
}
