// A layer that nobody writes to any more: what a disk was at one moment. Whoever reads it sees the same for ever, while its
// blocks may move: copies of the image are evicted, and layers that nobody can reach by name merge with their neighbours.
//
// A frozen layer reads like an image, so a disk over one is a disk over an image. It has no mapping: addresses for a thousand
// large disks do not exist, and pread of bytes in the page cache is as fast as that of an image.

internal import DiskIO
internal import Synchronization
public import SystemPackage

/// What a disk was when it was frozen. Its methods are called inside the disk's gate (``CowDisk/requests``).
final class FrozenLayer: BaseReader, @unchecked Sendable {
  // SAFETY: the layer lives from init to deinit. It is replaced, and its link to what is below changed, only while the
  // disk's gate is drained; its map is atomic.
  let layer: UnsafeMutablePointer<Layer>

  /// The disk's size in bytes when it was frozen.
  let size: UInt64
  /// Layers that lie on this one.
  let children = Atomic(0)
  /// Those who want to see just this, and so keep it from merging.
  let holders = Atomic(0)

  init(_ layer: consuming Layer, size: UInt64) {
    self.layer = .allocate(capacity: 1)
    self.size = size
    let pool = layer.pool
    self.layer.initialize(to: layer)
    pool.add(self)
  }

  deinit {
    layer.pointee.pool.remove(self)
    layer.deinitialize(count: 1)
    layer.deallocate()
  }

  var writtenBytes: UInt64 { layer.pointee.writtenBytes }

  /// Whether it is there only because of one layer that lies on it.
  var canMerge: Bool { holders.load(ordering: .acquiring) == 0 && children.load(ordering: .relaxed) == 1 }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    let end = offset + UInt64(buffer.count)
    let limit = layer.pointee.geometry.blockCount(for: end)
    var position = offset
    while position < end {
      let run = layer.pointee.map.run(at: layer.pointee.geometry.block(of: position), limit: limit)
      let next = min(end, layer.pointee.geometry.start(of: run.end))
      let part = UnsafeMutableRawBufferPointer(
        rebasing: buffer[Int(position - offset)..<Int(next - offset)])
      switch run.state {
      case .allocated: try layer.pointee.store.read(into: part, at: position)
      case .zero: part.initializeMemory(as: UInt8.self, repeating: 0)
      case .cached: try layer.pointee.readCopy(into: part, at: position)
      case .unallocated: try layer.pointee.readBelow(into: part, at: position)
      }
      position = next
    }
  }

  /// Gives up all copies of the image in this layer. Only under the disk's `evictionHand`, which stands for all locks of the
  /// layer: nobody else changes its states.
  ///
  /// - Returns: how many bytes that were.
  func evictCopies() -> UInt64 {
    let (geometry, pool) = (layer.pointee.geometry, layer.pointee.pool)
    let limit = geometry.blockCount(for: size)
    var freed: UInt64 = 0
    var block: UInt64 = 0
    while layer.pointee.map.cachedCount.load(ordering: .relaxed) > 0, block < limit {
      let run = layer.pointee.map.run(at: block, limit: limit)
      if run.state == .cached {
        // The order: see `cached | evict` in the design note.
        layer.pointee.map.set(block..<run.end, to: .unallocated)
        pool.evictions.add(1, ordering: .sequentiallyConsistent)
        let bytes = geometry.bytes(of: block..<run.end)
        try? layer.pointee.store.punch(bytes)
        pool.limit.giveBack(bytes.upperBound - bytes.lowerBound)
        freed += bytes.upperBound - bytes.lowerBound
      }
      block = run.end
    }
    return freed
  }

  func extent(at offset: UInt64) throws(Errno) -> Extent { try layer.pointee.extent(at: offset, end: size) }

  /// See ``Layer/imageRun(at:limit:)``.
  func imageRun(at offset: UInt64, limit: UInt64) -> (isImage: Bool, end: UInt64) {
    let geometry = layer.pointee.geometry
    guard offset < size else { return (false, limit) }
    let run = layer.pointee.map.run(at: geometry.block(of: offset), limit: geometry.blockCount(for: min(limit, size)))
    let end = min(limit, geometry.start(of: run.end))
    return run.state == .unallocated ? layer.pointee.imageRun(at: offset, limit: end) : (false, end)
  }
}

/// A state of a disk that was frozen and can be read, returned to and built on, for as long as somebody holds this.
public final class Checkpoint: Sendable {
  let layer: FrozenLayer

  init(_ layer: FrozenLayer) {
    self.layer = layer
    layer.holders.add(1, ordering: .relaxed)
  }

  deinit {
    layer.holders.subtract(1, ordering: .releasing)
  }

  /// The disk's size in bytes at that moment.
  public var size: UInt64 { layer.size }

  /// Bytes of blocks that were written until then and that the overlay holds.
  public var writtenBytes: UInt64 { layer.writtenBytes }

  /// Bytes of overlay that would not be there without this checkpoint's own layer.
  public var ownBytes: UInt64 { layer.layer.pointee.ownBytes }

  /// Reads bytes. Called inside the disk's gate (``CowDisk/requests``), as everything here is that reads.
  ///
  /// - Parameters:
  ///   - buffer: what to fill.
  ///   - offset: first byte; the whole range must lie within ``size``.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    precondition(offset <= size && UInt64(buffer.count) <= size - offset)
    try layer.read(into: buffer, at: offset)
  }

  /// The longest run from `offset` (below ``size``) on that is all data or all hole.
  public func extent(at offset: UInt64) throws(Errno) -> Extent {
    guard offset < size else { throw .noSuchAddressOrDevice }
    return try layer.extent(at: offset)
  }
}
