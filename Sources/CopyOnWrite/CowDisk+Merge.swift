// Merging layers. A frozen layer that nobody holds and that one other lies on is there for nobody's sake: its blocks and those
// of the layer on it become one, so that space and the number of layers to read through do not grow with history.
//
// The fewer bytes move. Down: the upper layer's blocks are copied into the lower one, where nobody sees them, because the upper
// one hides them; then the upper layer takes over the lower one's storage. Up: blocks of the lower layer are copied to where
// the upper one has none, which is a first write with the same bytes as before; when nobody reads them below any more, they go.
//
// Either way each step leaves a disk that reads the same, so a full file system ends the merging and nothing else, and it may go
// on later. Down into the storage that becomes the top's again happens while the gate is drained, and so only where there is
// little to copy.

internal import DiskIO
internal import Synchronization
public import SystemPackage
internal import Threads

extension CowDisk {
  /// Merges layers as long as there are any to merge. Not to be called inside ``requests``, nor by several threads at once.
  ///
  /// - Throws: `.noSpace` and the like; `.resourceBusy` as ``checkpoint(in:)``. The disk and its checkpoints read as before.
  public func mergeLayers() throws(Errno) {
    while let lower = pool.frozenLayers.first(where: \.canMerge) {
      if top.pointee.below === lower {
        if isSmall(top.pointee) { try takeOver(lower) } else { try absorb(lower) }
      } else if let upper = pool.frozenLayers.first(where: { $0.layer.pointee.below === lower }) {
        try merge(lower, into: upper)
      } else {
        return
      }
    }
  }

  /// How many layers there are, the one that is written to included.
  public var layerCount: Int { pool.frozenLayers.count + 1 }

  /// Most bytes, and most runs, that are copied while nobody gets through.
  private static let mostWhileDrained: (bytes: UInt64, runs: Int) = (1 << 20, 256)
  /// Bytes that take space twice at a time.
  private static let step: UInt64 = 16 << 20

  private func isSmall(_ layer: borrowing Layer) -> Bool {
    // Space that is set aside in its storage would be lost with that.
    guard layer.ownBytes <= Self.mostWhileDrained.bytes, reserved.allocatedCount.load(ordering: .relaxed) == 0 else {
      return false
    }
    let limit = geometry.blockCount(for: size)
    var (block, runs): (UInt64, Int) = (0, 0)
    while block < limit, runs < Self.mostWhileDrained.runs {
      block = layer.map.run(at: block, limit: limit).end
      runs += 1
    }
    return block == limit
  }

  // MARK: Down

  /// Goes on in the storage of the layer below, with what the top layer has.
  private func takeOver(_ lower: FrozenLayer) throws(Errno) {
    try requests.drain()
    // What was small may have grown.
    guard isSmall(top.pointee) else {
      requests.open()
      return try absorb(lower)
    }
    do {
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(geometry.blockSize), alignment: 4096)
      defer { buffer.deallocate() }
      try lower.layer.pointee.makeRoom(for: size)
      try copyDown(top, to: lower, size: size, through: buffer)
    } catch {
      requests.open()
      throw error
    }
    lower.layer.pointee.store.mapAgain(
      needed: geometry.roundedUp(size), wanted: max(2 * geometry.roundedUp(size), Self.roomToGrow))
    exchangeStorage(of: top, with: lower)
    let mapping = lower.layer.pointee.store.takeMapping()
    requests.open()
    _ = consume mapping
  }

  private func merge(_ lower: FrozenLayer, into upper: FrozenLayer) throws(Errno) {
    if upper.layer.pointee.ownBytes > lower.layer.pointee.ownBytes { return try lift(lower, into: upper) }
    let buffer = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(128 << 10, Int(geometry.blockSize)), alignment: 4096)
    defer { buffer.deallocate() }
    try mergeLane.pass { () throws(Errno) in
      try lower.layer.pointee.makeRoom(for: upper.size)
      try copyDown(upper.layer, to: lower, size: upper.size, through: buffer)
    }
    try requests.drain()
    exchangeStorage(of: upper.layer, with: lower)
    requests.open()
  }

  /// Gives `upper` the storage of `lower`, which it lies on and which has all blocks of both. Only while `requests` is drained.
  private func exchangeStorage(of upper: UnsafeMutablePointer<Layer>, with lower: FrozenLayer) {
    upper.pointee.put(on: nil, visible: 0)
    let old = upper.move()
    upper.initialize(to: lower.layer.move())
    lower.layer.initialize(to: old)
  }

  /// Copies what one layer has into that below it, which is seen through it alone.
  private func copyDown(
    _ upper: UnsafeMutablePointer<Layer>, to lower: FrozenLayer, size: UInt64,
    through buffer: UnsafeMutableRawBufferPointer
  ) throws(Errno) {
    let visible = upper.pointee.visibleBelow.load(ordering: .acquiring)
    try evictionHand.withLock { (_) throws(Errno) in
      try lower.layer.pointee.hide(from: visible, of: lower.size)
      try forEachRun(of: upper.pointee.map, in: 0..<geometry.blockCount(for: size)) { (state, blocks) throws(Errno) in
        switch state {
        case .unallocated: break
        case .zero: lower.layer.pointee.drop(blocks, becoming: .zero)
        case .allocated, .cached:
          try forEachPiece(of: blocks, atMost: buffer.count) { (part) throws(Errno) in
            let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<geometry.bytes(of: part).count])
            try upper.pointee.store.read(into: bytes, at: geometry.start(of: part.lowerBound))
            try lower.layer.pointee.put(UnsafeRawBufferPointer(bytes), in: part, becoming: state)
          }
        }
      }
    }
  }

  // MARK: Up

  /// Copies what the layer below has to where the top layer has nothing, and does without it.
  private func absorb(_ lower: FrozenLayer) throws(Errno) {
    try liftSteps(from: lower, visible: visibleBase) { (state, blocks, content) throws(Errno) in
      let start = geometry.start(of: blocks.lowerBound)
      func put() throws(Errno) {
        // Who cut the disk off meanwhile wants none of it back.
        let end = min(geometry.start(of: blocks.upperBound), visibleBase, size)
        guard start < end else { return }
        try forEachRun(in: start..<end) { (own, part) throws(Errno) in
          guard own == .unallocated else { return }
          if state == .zero {
            map.set(geometry.blocks(touchedBy: part), to: .zero)
          } else {
            try firstWrite(part, with: content.part(part, from: start), state: own, becoming: state)
          }
        }
      }
      _ = state == .cached ? try locked(start..<start, put) : try transition(start..<start, put)
    }
    try requests.drain()
    top.pointee.put(
      on: lower.layer.pointee.below,
      visible: min(visibleBase, lower.layer.pointee.visibleBelow.load(ordering: .acquiring)))
    requests.open()
  }

  /// As ``absorb(_:)``, for a layer that is frozen itself, and so has no writers.
  private func lift(_ lower: FrozenLayer, into upper: FrozenLayer) throws(Errno) {
    let visible = upper.layer.pointee.visibleBelow.load(ordering: .acquiring)
    try liftSteps(from: lower, visible: visible) { (state, blocks, content) throws(Errno) in
      try evictionHand.withLock { (_) throws(Errno) in
        try forEachRun(of: upper.layer.pointee.map, in: blocks) { (own, part) throws(Errno) in
          guard own == .unallocated else { return }
          switch content.part(geometry.bytes(of: part), from: geometry.start(of: blocks.lowerBound)) {
          case .zeros: upper.layer.pointee.drop(part, becoming: .zero)
          case .bytes(let bytes): try upper.layer.pointee.put(bytes, in: part, becoming: state)
          }
        }
      }
    }
    try requests.drain()
    upper.layer.pointee.put(
      on: lower.layer.pointee.below,
      visible: min(visible, lower.layer.pointee.visibleBelow.load(ordering: .acquiring)))
    requests.open()
  }

  /// Hands out what a layer has of what can be seen of it, a few blocks of one stretch at a time, and frees them when nobody
  /// reads them any more.
  private func liftSteps(
    from lower: FrozenLayer, visible: UInt64,
    _ body: (BlockState, Range<UInt64>, Content) throws(Errno) -> Void
  ) throws(Errno) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(128 << 10, Int(geometry.blockSize)), alignment: 4096)
    defer { buffer.deallocate() }
    let limit = geometry.blockCount(for: visible)
    var block: UInt64 = 0
    while block < limit {
      let (next, failure) = mergeLane.pass { liftStep(from: lower, block, limit, visible, through: buffer, body) }
      if next > block {
        // Who saw them below is done when the gate has been empty once.
        try requests.drain()
        requests.open()
        evictionHand.withLock { _ in lower.layer.pointee.drop(block..<next, becoming: .unallocated) }
      }
      if let failure { throw failure }
      block = next
    }
  }

  private func liftStep(
    from lower: FrozenLayer, _ first: UInt64, _ limit: UInt64, _ visible: UInt64,
    through buffer: UnsafeMutableRawBufferPointer, _ body: (BlockState, Range<UInt64>, Content) throws(Errno) -> Void
  ) -> (next: UInt64, failure: Errno?) {
    var (block, moved): (UInt64, UInt64) = (first, 0)
    while block < limit, moved < Self.step {
      let run = lower.layer.pointee.map.run(at: block, limit: limit)
      guard run.state != .unallocated else {
        block = run.end
        continue
      }
      let end = min(
        run.end, stripes.endOfStretch(of: block), block + max(1, UInt64(buffer.count) >> geometry.blockShift))
      let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<geometry.bytes(of: block..<end).count])
      do throws(Errno) {
        switch run.state {
        case .zero: try body(.zero, block..<end, .zeros)
        case .cached:
          // A copy is a convenience.
          if hasSpaceForCopies(of: UInt64(bytes.count)) {
            try lower.layer.pointee.readCopy(into: bytes, at: geometry.start(of: block))
            hideEnd(of: bytes, at: geometry.start(of: block), from: visible)
            try? body(.cached, block..<end, .bytes(UnsafeRawBufferPointer(bytes)))
          }
        default:
          try lower.layer.pointee.store.read(into: bytes, at: geometry.start(of: block))
          hideEnd(of: bytes, at: geometry.start(of: block), from: visible)
          try body(.allocated, block..<end, .bytes(UnsafeRawBufferPointer(bytes)))
        }
      } catch {
        return (block, error)
      }
      moved += UInt64(bytes.count)
      block = end
    }
    return (block, nil)
  }

  /// Zeros what cannot be seen of the bytes at `offset`.
  private func hideEnd(of bytes: UnsafeMutableRawBufferPointer, at offset: UInt64, from visible: UInt64) {
    let shown = Int(min(UInt64(bytes.count), visible - min(visible, offset)))
    UnsafeMutableRawBufferPointer(rebasing: bytes[shown...]).initializeMemory(as: UInt8.self, repeating: 0)
  }

  // MARK: Runs

  private func forEachRun(
    of map: borrowing BlockMap, in blocks: Range<UInt64>, _ body: (BlockState, Range<UInt64>) throws(Errno) -> Void
  ) throws(Errno) {
    var block = blocks.lowerBound
    while block < blocks.upperBound {
      let run = map.run(at: block, limit: blocks.upperBound)
      try body(run.state, block..<run.end)
      block = run.end
    }
  }

  private func forEachPiece(
    of blocks: Range<UInt64>, atMost bytes: Int, _ body: (Range<UInt64>) throws(Errno) -> Void
  ) throws(Errno) {
    let most = max(1, UInt64(bytes) >> geometry.blockShift)
    var block = blocks.lowerBound
    while block < blocks.upperBound {
      let end = min(blocks.upperBound, block + most)
      try body(block..<end)
      block = end
    }
  }
}
