// Freezing the disk, and going back. Both replace the top layer while nobody is inside `requests`, so there is no request that
// sees half of either, no writer in place that stores into what is frozen, and no vector that points into a mapping that is
// about to go. What takes time, making the new layer and taking the old one down, happens before and after.

public import DiskIO
internal import Synchronization
public import SystemPackage
internal import Threads

extension CowDisk {
  /// Freezes the disk as it is, and goes on in an empty layer on top of that. Nothing is copied. Space that was set aside for
  /// blocks is given back: their next write needs new space anyway.
  ///
  /// Not to be called inside ``requests``, nor by several threads at once, as all that changes layers.
  ///
  /// - Parameters:
  ///   - scratch: an empty file of its own for what will be written, as for ``init(base:geometry:scratch:options:)``.
  ///   - patience: how long requests that are under way may keep others waiting at a time.
  /// - Throws: `.resourceBusy` where requests did not end in time, or what the new layer cannot have: `.noMemory`, `.noSpace`.
  ///   The disk is as it was then.
  public func checkpoint(
    in scratch: consuming File, patience: Duration = .milliseconds(100)
  ) throws(Errno) -> Checkpoint {
    var next = try emptyLayer(over: nil, size: size, scratch)
    try requests.drain(patience: patience)
    do {
      // It may have grown meanwhile.
      try next.makeRoom(for: size)
    } catch {
      requests.open()
      throw error
    }
    var old = top.move()
    let mapping = old.store.takeMapping()
    let frozen = FrozenLayer(old, size: size)
    next.put(on: frozen, visible: size)
    top.initialize(to: next)
    let setAside = takeReservations()
    requests.open()
    _ = consume mapping
    frozen.layer.pointee.giveBack(setAside)
    return Checkpoint(frozen)
  }

  /// Throws away what was written since a checkpoint, its size included. Copies of the image that the top layer has are kept
  /// where it lay on that checkpoint already.
  ///
  /// - Parameters:
  ///   - checkpoint: of this disk; nil for the image.
  ///   - scratch: as for ``checkpoint(in:)``.
  /// - Returns: what was thrown away, where that is a whole layer. Its space comes back when this goes, which may take seconds
  ///   while much of it is being written to the disk.
  /// - Throws: as ``checkpoint(in:)``.
  @discardableResult
  public func reset(to checkpoint: Checkpoint?, in scratch: consuming File) throws(Errno) -> DiscardedLayer? {
    let below = checkpoint?.layer
    precondition(below == nil || below?.layer.pointee.pool === pool)
    let newSize = below?.size ?? pool.image.size
    let next = try emptyLayer(over: below, size: newSize, scratch)
    try requests.drain()
    let setAside = takeReservations()
    let oldSize = size
    publish(size: newSize)
    if top.pointee.below === below, map.cachedCount.load(ordering: .relaxed) > 0 {
      forgetWrites(oldSize: oldSize, newSize: newSize)
      top.pointee.giveBack(setAside)
      requests.open()
      return nil
    }
    var discarded = top.move()
    discarded.stopCounting()
    let old = DiscardedLayer(discarded)
    top.initialize(to: next)
    requests.open()
    return old
  }

  /// Whether the disk lies on this checkpoint, at any depth.
  public func liesOn(_ checkpoint: Checkpoint) -> Bool { top.pointee.liesOn(checkpoint.layer) }

  func emptyLayer(over below: FrozenLayer?, size: UInt64, _ scratch: consuming File) throws(Errno) -> Layer {
    try Self.makeLayer(
      over: below, pool, size: size, scratch, geometry: geometry, access: access, pageSize: pageSize)
  }

  /// The blocks that space was set aside for, which they are no longer. Only while `requests` is drained.
  private func takeReservations() -> RangeSet<UInt64> {
    let limit = geometry.blockCount(for: size)
    var blocks = RangeSet<UInt64>()
    guard reserved.allocatedCount.load(ordering: .relaxed) > 0 else { return blocks }
    var block: UInt64 = 0
    while block < limit {
      let run = reserved.run(at: block, limit: limit)
      if run.state == .allocated { blocks.insert(contentsOf: block..<run.end) }
      block = run.end
    }
    reserved.clear(from: 0, limit: limit)
    return blocks
  }

  /// Makes all blocks of the top layer unallocated that are no copies of the image. Only while `requests` is drained.
  private func forgetWrites(oldSize: UInt64, newSize: UInt64) {
    // Beyond, nothing was written, and the map need not have room.
    let limit = geometry.blockCount(for: oldSize)
    // A copy that the end once cut through has zeros where the image has bytes.
    let visible = visibleBase
    let cut = visible == newSize ? nil : geometry.block(of: visible)
    top.pointee.visibleBelow.store(newSize, ordering: .releasing)
    let before = top.pointee.ownBytes
    var block: UInt64 = 0
    while block < limit {
      let run = map.run(at: block, limit: limit)
      var end = run.end
      var goes = run.state == .allocated || run.state == .zero
      if run.state == .cached, let cut, (block..<end).contains(cut) {
        end = cut == block ? cut + 1 : cut
        goes = cut == block
      }
      if goes {
        map.set(block..<end, to: .unallocated)
        if run.state.isInOverlay { try? store.punch(geometry.bytes(of: block..<end)) }
      }
      block = end
    }
    pool.limit.giveBack(before - top.pointee.ownBytes)
  }
}

/// A layer that nobody reads any more. It gives its space back when it goes.
public final class DiscardedLayer: @unchecked Sendable {
  // SAFETY: the layer lives from init to deinit, and nobody looks at it in between.
  private let layer: UnsafeMutablePointer<Layer>

  init(_ layer: consuming Layer) {
    self.layer = .allocate(capacity: 1)
    self.layer.initialize(to: layer)
  }

  deinit {
    layer.deinitialize(count: 1)
    layer.deallocate()
  }
}
