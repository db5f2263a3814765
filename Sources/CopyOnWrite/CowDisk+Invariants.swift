// What holds of a disk that nobody is using, looked at from outside: tests ask after all that they do. In debug builds only.

#if DEBUG
  internal import DiskIO
  internal import Synchronization
  internal import SystemPackage

  extension CowDisk {
    /// What is wrong with the disk, in words; nothing where all is well. Nobody may be using it.
    ///
    /// - Parameter mayLeak: whether the overlay may take space that no block has, after a file system that failed to take
    ///   it back.
    func checkInvariants(mayLeak: Bool = false) throws(Errno) -> [String] {
      var wrong: [String] = []
      let length = try store.file.status().size
      if length < geometry.roundedUp(size) { wrong.append("the overlay file ends at \(length), the disk at \(size)") }
      let below = top.pointee.below?.size ?? pool.image.size
      if visibleBase > below { wrong.append("\(visibleBase) bytes below can be seen, and there are \(below)") }
      wrong += checkStates(upTo: length >> geometry.blockShift)
      let frozen = pool.frozenLayers
      let taken = top.pointee.ownBytes + frozen.reduce(0) { $0 + $1.layer.pointee.ownBytes }
      if let most = limit.bytes, limit.left != most - min(most, taken) {
        wrong.append("\(limit.left) of \(most) bytes are left, and blocks take \(taken)")
      }
      for (index, frozen) in frozen.enumerated() {
        let children = frozenOrTop { $0.below === frozen }
        if frozen.children.load(ordering: .relaxed) != children {
          wrong.append("layer \(index) has \(children) layers on it")
        }
      }
      guard store.canReserve else { return wrong }
      wrong += try checkPresence()
      // A store into the mapping takes space for all of the folio that the page cache has there, and so for neighbours.
      if !mayLeak, store.pointer(at: 0, count: 1) == nil {
        wrong += try checkSpace(
          top.pointee.ownBytes + reserved.allocatedCount.load(ordering: .relaxed) << geometry.blockShift)
      }
      return wrong
    }

    /// How many layers are as described.
    private func frozenOrTop(_ isOne: (borrowing Layer) -> Bool) -> Int {
      pool.frozenLayers.count { isOne($0.layer.pointee) } + (isOne(top.pointee) ? 1 : 0)
    }

    /// States against counters, and that there is nothing between the disk's end and that of the overlay file.
    private func checkStates(upTo fileEnd: UInt64) -> [String] {
      var wrong: [String] = []
      let end = geometry.blockCount(for: size)
      var counts: [BlockState: UInt64] = [:]
      forEachState(of: map, in: 0..<end) { counts[$0, default: 0] += $1.upperBound - $1.lowerBound }
      for (state, counter) in [
        (BlockState.allocated, map.allocatedCount.load(ordering: .relaxed)),
        (.cached, map.cachedCount.load(ordering: .relaxed)),
      ] where counts[state, default: 0] != counter {
        wrong.append("\(counts[state, default: 0]) blocks are \(state), counted are \(counter)")
      }
      var setAside: UInt64 = 0
      forEachState(of: reserved, in: 0..<end) { state, blocks in
        if state == .allocated { setAside += blocks.upperBound - blocks.lowerBound }
        if state == .zero || state == .cached { wrong.append("\(blocks) are set aside as \(state)") }
      }
      let counter = reserved.allocatedCount.load(ordering: .relaxed)
      if setAside != counter { wrong.append("\(setAside) blocks are set aside, counted are \(counter)") }
      // Before a disk without bytes grows, the maps have no room, and the file has the block that was tried.
      if end > 0 {
        forEachState(of: map, in: end..<max(end, fileEnd)) { state, blocks in
          if state != .unallocated { wrong.append("\(blocks) are \(state), and the disk ends at \(end)") }
        }
      }
      return wrong
    }

    private func forEachState(
      of map: borrowing BlockMap, in blocks: Range<UInt64>, _ body: (BlockState, Range<UInt64>) -> Void
    ) {
      var block = blocks.lowerBound
      while block < blocks.upperBound {
        let run = map.run(at: block, limit: blocks.upperBound)
        body(run.state, block..<run.end)
        block = run.end
      }
    }

    /// What the map says that the overlay has is no hole there.
    private func checkPresence() throws(Errno) -> [String] {
      var wrong: [String] = []
      try forEachRun(in: 0..<geometry.roundedUp(size)) { (state, bytes) throws(Errno) in
        guard state.isInOverlay else { return }
        let hole = try store.file.nextHole(from: bytes.lowerBound)
        if hole < bytes.upperBound { wrong.append("\(bytes) are \(state), and there is a hole at \(hole)") }
      }
      return wrong
    }

    /// What the map says that the overlay does not have takes no space there, but for what is set aside.
    private func checkSpace(_ expected: UInt64) throws(Errno) -> [String] {
      var wrong: [String] = []
      var position: UInt64 = 0
      while let data = try store.file.nextData(from: position) {
        position = try store.file.nextHole(from: data)
        try forEachRun(in: data..<position) { (state, bytes) throws(Errno) in
          try forEachPart(of: geometry.blocks(touchedBy: bytes)) { (part, isSetAside) throws(Errno) in
            if !state.isInOverlay, !isSetAside { wrong.append("blocks \(part) are \(state), and there are bytes") }
          }
        }
      }
      // File systems have their own bookkeeping.
      let used = try store.usedSpace()
      if used > expected + expected / 16 + 65536 {
        wrong.append("\(used) bytes are in use, and blocks have \(expected)")
      }
      return wrong
    }
  }
#endif
