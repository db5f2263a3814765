// What a disk holds of its own, as against what lies below: the states of its blocks and their bytes. The disk that is used
// has one that changes, on top of those that were frozen (FrozenLayer), on top of the image.
//
// Everything here is the same for both kinds: which bytes come from where. What changes a state is in CowDisk, but for
// CowDisk+Merge.swift, which moves blocks between layers.

internal import DiskIO
internal import Synchronization
internal import SystemPackage

/// Blocks over something that is read where there are none.
struct Layer: ~Copyable, Sendable {
  let geometry: Geometry
  let map: BlockMap
  var store: OverlayStore
  let pool: LayerPool
  /// The layer below; nil where that is the image.
  private(set) var below: FrozenLayer?
  /// Bytes that can be seen of what is below: its size, or less since the disk was cut off below that.
  let visibleBelow: Atomic<UInt64>
  /// Whether its blocks count against the limit.
  private var counts = true

  /// An empty layer.
  init(
    _ geometry: Geometry, map: consuming BlockMap, store: consuming OverlayStore, pool: LayerPool,
    over below: FrozenLayer?
  ) {
    self.geometry = geometry
    self.map = map
    self.store = store
    self.pool = pool
    self.below = below
    visibleBelow = Atomic(below?.size ?? pool.image.size)
    below?.children.add(1, ordering: .relaxed)
  }

  deinit {
    if counts { pool.limit.giveBack(ownBytes) }
    below?.children.subtract(1, ordering: .relaxed)
  }

  /// Takes its blocks off what counts against the limit, for a layer that nobody reads any more.
  mutating func stopCounting() {
    if counts { pool.limit.giveBack(ownBytes) }
    counts = false
  }

  /// Puts the layer on something else that shows at least the same where the layer has nothing.
  ///
  /// - Parameter visible: bytes that can be seen of it.
  mutating func put(on other: FrozenLayer?, visible: UInt64) {
    other?.children.add(1, ordering: .relaxed)
    below?.children.subtract(1, ordering: .relaxed)
    below = other
    visibleBelow.store(visible, ordering: .releasing)
  }

  /// Makes room for blocks and bytes of a disk of `size` bytes. Nobody else may be at it.
  func makeRoom(for size: UInt64) throws(Errno) {
    try map.makeAccessible(geometry.blockCount(for: size))
    try store.extend(to: geometry.roundedUp(size))
  }

  /// Bytes of its blocks in the overlay, written or copied.
  var ownBytes: UInt64 {
    (map.allocatedCount.load(ordering: .relaxed) + map.cachedCount.load(ordering: .relaxed)) << geometry.blockShift
  }

  /// Bytes of blocks that were written in it and in those below it.
  var writtenBytes: UInt64 {
    (map.allocatedCount.load(ordering: .relaxed) << geometry.blockShift) + (below?.writtenBytes ?? 0)
  }

  /// Whether this is one of the layers below.
  func liesOn(_ other: FrozenLayer) -> Bool {
    guard let below else { return false }
    return below === other || below.layer.pointee.liesOn(other)
  }

  // MARK: Blocks of a layer that nobody writes to

  // The caller holds the disk's `evictionHand`, so that nobody else changes states here. What these do is hidden from readers
  // by a layer above, or brings what they read there anyway.

  /// Puts whole blocks into the layer.
  ///
  /// - Throws: `.noSpace` and the like; the states are as before then.
  func put(_ bytes: UnsafeRawBufferPointer, in blocks: Range<UInt64>, becoming state: BlockState) throws(Errno) {
    var block = blocks.lowerBound
    while block < blocks.upperBound {
      let run = map.run(at: block, limit: blocks.upperBound)
      let range = geometry.bytes(of: block..<run.end)
      let origin = geometry.start(of: blocks.lowerBound)
      let part = UnsafeRawBufferPointer(
        rebasing: bytes[Int(range.lowerBound - origin)..<Int(range.upperBound - origin)])
      if run.state.isInOverlay {
        try store.write(part, at: range.lowerBound)
      } else {
        try pool.limit.take(UInt64(range.count))
        do throws(Errno) {
          try store.reserve(range)
          try store.write(part, at: range.lowerBound)
        } catch {
          try? store.punch(range)
          pool.limit.giveBack(UInt64(range.count))
          throw error
        }
      }
      map.set(block..<run.end, to: state)
      block = run.end
    }
  }

  /// Gives up the bytes of blocks.
  func drop(_ blocks: Range<UInt64>, becoming state: BlockState) {
    var block = blocks.lowerBound
    while block < blocks.upperBound {
      let run = map.run(at: block, limit: blocks.upperBound)
      if run.state != state { map.set(block..<run.end, to: state) }
      if run.state.isInOverlay {
        let range = geometry.bytes(of: block..<run.end)
        try? store.punch(range)
        pool.limit.giveBack(UInt64(range.count))
      }
      block = run.end
    }
  }

  /// Makes the layer show nothing from `end` on, whatever the size of the disk that it becomes part of. Its own was `size`,
  /// which is not below `end`; behind that a last block may have any bytes.
  func hide(from end: UInt64, of size: UInt64) throws(Errno) {
    if end < visibleBelow.load(ordering: .relaxed) { visibleBelow.store(end, ordering: .releasing) }
    drop(geometry.blockCount(for: end)..<geometry.blockCount(for: size), becoming: .unallocated)
    let tail = end..<geometry.roundedUp(end)
    if !tail.isEmpty, map.state(of: geometry.block(of: end)).isInOverlay { try store.writeZeros(tail) }
  }

  /// Gives back space that was set aside for blocks that nobody has written.
  func giveBack(_ setAside: RangeSet<UInt64>) {
    for blocks in setAside.ranges {
      var block = blocks.lowerBound
      while block < blocks.upperBound {
        let run = map.run(at: block, limit: blocks.upperBound)
        if !run.state.isInOverlay { try? store.punch(geometry.bytes(of: block..<run.end)) }
        block = run.end
      }
    }
  }

  // MARK: Bytes

  /// Reads what is below; bytes that cannot be seen are zeros.
  func readBelow(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    let visible = visibleBelow.load(ordering: .acquiring)
    let shown = Int(min(UInt64(buffer.count), visible - min(visible, offset)))
    if shown > 0 { try readVisible(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<shown]), at: offset) }
    UnsafeMutableRawBufferPointer(rebasing: buffer[shown...]).initializeMemory(as: UInt8.self, repeating: 0)
  }

  /// Reads bytes below that can be seen.
  @inline(__always)
  func readVisible(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    if below == nil { try pool.readImage(into: buffer, at: offset) } else { try readFrozen(into: buffer, at: offset) }
  }

  @inline(never)
  private func readFrozen(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    try below?.read(into: buffer, at: offset)
  }

  /// Reads bytes of blocks that were `cached` a moment ago. See `cached | evict` in the design note.
  @inline(never)
  func readCopy(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    let before = pool.evictions.load(ordering: .acquiring)
    let blocks = geometry.blocks(touchedBy: offset..<offset + UInt64(buffer.count))
    if map.run(at: blocks.lowerBound, limit: blocks.upperBound) == BlockRun(state: .cached, end: blocks.upperBound),
      copyOut(into: buffer, from: offset)
    {
      atomicMemoryFence(ordering: .acquiring)
      if pool.evictions.load(ordering: .relaxed) == before { return }
    }
    // The blocks were cached when this read began, so at that time the image had their bytes, too.
    try readBelow(into: buffer, at: offset)
  }

  private func copyOut(into buffer: UnsafeMutableRawBufferPointer, from offset: UInt64) -> Bool {
    if let pointer = store.pointer(at: offset, count: buffer.count) {
      return GuardedCopy.copy(UnsafeRawBufferPointer(start: pointer, count: buffer.count), to: buffer)
    }
    return (try? store.read(into: buffer, at: offset)) != nil
  }

  // MARK: Where the bytes are

  /// The longest run from `offset` on, of a disk of `end` bytes, that is all data or all hole.
  func extent(at offset: UInt64, end: UInt64) throws(Errno) -> Extent {
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
      let extent = try extentBelow(at: offset)
      return Extent(isData: extent.isData, end: min(extent.end, runEnd))
    }
  }

  /// What can be seen below at `offset`; an endless hole beyond it.
  func extentBelow(at offset: UInt64) throws(Errno) -> Extent {
    let visible = visibleBelow.load(ordering: .acquiring)
    guard offset < visible else { return Extent(isData: false, end: .max) }
    let extent = if let below { try below.extent(at: offset) } else { try pool.image.extent(at: offset) }
    if extent.end < visible { return extent }
    return Extent(isData: extent.isData, end: extent.isData ? visible : .max)
  }

  /// Whether bytes below, from `offset` on, come from the image and not from a layer that has them already, and where that
  /// ends; `limit` at most.
  func imageRun(at offset: UInt64, limit: UInt64) -> (isImage: Bool, end: UInt64) {
    guard let below else { return (true, limit) }
    return below.imageRun(at: offset, limit: limit)
  }
}
