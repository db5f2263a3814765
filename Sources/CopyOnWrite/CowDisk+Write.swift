// Writing: in place where the overlay has the blocks, else a first write under the stretch's lock.

internal import DiskIO
public import SystemPackage

extension CowDisk {
  /// Writes `bytes` from `offset` on. Where they go past the end, the disk grows, and what lies between reads as zeros.
  ///
  /// - Throws: `.noSpace` and the like from the overlay, or what the base says where part of a block had to be completed
  ///   from it. Bytes before the block that failed may have been written, as with any write.
  public func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    if options.detectZeroes, !bytes.isEmpty {
      try writeDetectingZeroes(bytes, at: offset)
    } else {
      try write(.bytes(bytes), at: offset, count: UInt64(bytes.count))
    }
  }

  /// Writes that come here stay within the disk or grow it.
  func write(_ content: Content, at offset: UInt64, count: UInt64) throws(Errno) {
    // Nothing to write grows nothing, as with write(2).
    guard count > 0 else { return }
    let end = try end(of: count, from: offset)
    if end > size { try grow(toAtLeast: end) }
    let limit = geometry.blockCount(for: end)
    var position = offset
    while position < end {
      let block = geometry.block(of: position)
      let run = map.run(at: block, limit: limit)
      let runEnd = min(end, geometry.start(of: run.end))
      let range = position..<runEnd
      if run.state == .allocated, overwrite(range, with: content.part(range, from: offset), blocks: block..<run.end) {
        position = runEnd
      } else {
        let stop = min(end, geometry.start(of: stripes.endOfStretch(of: block)))
        do {
          try writeLocked(position..<stop, with: content.part(position..<stop, from: offset))
        } catch {
          if run.state == .allocated { sweep(geometry.blocks(touchedBy: range)) }
          throw error
        }
        position = stop
      }
    }
  }

  /// Where a range ends.
  ///
  /// - Throws: `.fileTooLarge` where no file can reach.
  func end(of count: UInt64, from offset: UInt64) throws(Errno) -> UInt64 {
    let (end, overflow) = offset.addingReportingOverflow(count)
    guard !overflow, end <= UInt64(Int64.max) else { throw .fileTooLarge }
    return end
  }

  /// Writes in place.
  ///
  /// - Returns: false where that did not work or a block lost its place meanwhile: write again under the lock.
  @inline(__always)
  private func overwrite(_ range: Range<UInt64>, with content: Content, blocks: Range<UInt64>) -> Bool {
    do {
      try put(content, in: range)
    } catch {
      return false
    }
    return map.run(at: blocks.lowerBound, limit: blocks.upperBound)
      == BlockRun(state: .allocated, end: blocks.upperBound)
  }

  /// Gives back the space that a write in place has taken in blocks that lost theirs to a trim meanwhile, where writing
  /// them again under the lock failed.
  private func sweep(_ blocks: Range<UInt64>) {
    gate.shared {
      try? forEachStretch(of: blocks) { (part) throws(Errno) in
        try lockedAnywhere(part) { (state, part, isSetAside) throws(Errno) in
          if !state.isInOverlay, !isSetAside { try? store.punch(geometry.bytes(of: part)) }
        }
      }
    }
  }

  /// Writes a range within one stretch, whatever the states of its blocks.
  private func writeLocked(_ range: Range<UInt64>, with content: Content) throws(Errno) {
    while try !transition(range, { () throws(Errno) in try writeStretch(range, with: content) }) {
      // The disk was cut off in between; this write comes after that and makes it grow again.
      try grow(toAtLeast: range.upperBound)
    }
  }

  /// The part of a write that is under the lock.
  private func writeStretch(_ range: Range<UInt64>, with content: Content) throws(Errno) {
    try forEachRun(in: range) { (state, part) throws(Errno) in
      let content = content.part(part, from: range.lowerBound)
      switch state {
      case .allocated:
        try put(content, in: part)
      case .cached:
        adopt(part)
        try put(content, in: part)
      case .unallocated, .zero:
        try firstWrite(part, with: content, state: state, becoming: .allocated)
      }
    }
  }

  /// Makes copies of the base, the blocks that `range` touches, part of what was written. Under the stretch's lock, before
  /// their bytes change.
  func adopt(_ range: Range<UInt64>) {
    map.set(geometry.blocks(touchedBy: range), to: .allocated)
  }

  /// Runs `body` under the gate and the lock of the stretch that `range` is in. Where it finds no space, it runs again
  /// after copies of the base made way, as long as there are any.
  ///
  /// - Returns: false, without having run it, where the range is no longer within the disk.
  func transition(_ range: Range<UInt64>, _ body: () throws(Errno) -> Void) throws(Errno) -> Bool {
    try makingWay { () throws(Errno) in try locked(range, body) }
  }

  /// As ``transition(_:_:)``, for what nothing is to make way for.
  func locked(_ range: Range<UInt64>, _ body: () throws(Errno) -> Void) throws(Errno) -> Bool {
    try gate.shared { () throws(Errno) -> Bool in
      guard range.upperBound <= size else { return false }
      try stripes.withLock(of: geometry.block(of: range.lowerBound)) { () throws(Errno) in try body() }
      return true
    }
  }

  /// Hands out the parts of `range` whose blocks are of one state. The state of a part is looked up after the parts
  /// before it were dealt with.
  func forEachRun(
    in range: Range<UInt64>, _ body: (BlockState, Range<UInt64>) throws(Errno) -> Void
  ) throws(Errno) {
    let limit = geometry.blockCount(for: range.upperBound)
    var position = range.lowerBound
    while position < range.upperBound {
      let run = map.run(at: geometry.block(of: position), limit: limit)
      let runEnd = min(range.upperBound, geometry.start(of: run.end))
      try body(run.state, position..<runEnd)
      position = runEnd
    }
  }

  /// Puts blocks into the overlay that it does not have: the range gets its content, the rest of the first and of the last
  /// block is copied up. Under the stretch's lock.
  ///
  /// - Parameters:
  ///   - state: what the blocks are.
  ///   - newState: what they become, `allocated` or `cached`.
  func firstWrite(
    _ range: Range<UInt64>, with content: Content, state: BlockState, becoming newState: BlockState
  ) throws(Errno) {
    let blocks = geometry.blocks(touchedBy: range)
    let whole = geometry.bytes(of: blocks)
    let size = whole.upperBound - whole.lowerBound
    try limit.take(size)
    do {
      let allocates = store.allocatesOnWrite(whole)
      if !allocates { try store.reserve(whole) }
      var baseFailed = false
      do {
        try fill(whole, range, with: content, state: state, baseFailed: &baseFailed)
      } catch _ where allocates && !baseFailed {
        // For want of space? The reservation says so, or the space is there now.
        try store.reserve(whole)
        try fill(whole, range, with: content, state: state, baseFailed: &baseFailed)
      }
    } catch {
      // O7. The blocks have no bytes of their own yet, so nothing but the space goes, and not that which somebody had set
      // aside before.
      punchUnlessSetAside(blocks)
      limit.giveBack(size)
      throw error
    }
    map.set(blocks, to: newState)
  }

  /// Gives every byte of the blocks `whole` its value: `content` in `range`, what is read there now around it.
  ///
  /// - Parameter baseFailed: set where it is the base that throws.
  private func fill(
    _ whole: Range<UInt64>, _ range: Range<UInt64>, with content: Content, state: BlockState, baseFailed: inout Bool
  ) throws(Errno) {
    try copyUp(whole.lowerBound..<range.lowerBound, state: state, baseFailed: &baseFailed)
    switch content {
    case .bytes(let bytes): try store.write(bytes, at: range.lowerBound)
    case .zeros: try store.writeZeros(range)
    }
    try copyUp(range.upperBound..<whole.upperBound, state: state, baseFailed: &baseFailed)
  }

  /// Copies what `range`, part of one block that is not allocated, reads as into the overlay.
  private func copyUp(_ range: Range<UInt64>, state: BlockState, baseFailed: inout Bool) throws(Errno) {
    guard !range.isEmpty else { return }
    let baseEnd = state == .zero ? range.lowerBound : min(range.upperBound, max(range.lowerBound, visibleBase))
    let count = Int(baseEnd - range.lowerBound)
    if count > 0 {
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
      defer { buffer.deallocate() }
      do {
        try askBase(into: buffer, at: range.lowerBound)
      } catch {
        baseFailed = true
        throw error
      }
      try store.write(UnsafeRawBufferPointer(buffer), at: range.lowerBound)
    }
    try store.writeZeros(baseEnd..<range.upperBound)
  }

  @inline(__always)
  private func put(_ content: Content, in range: Range<UInt64>) throws(Errno) {
    switch content {
    case .bytes(let bytes): try store.write(bytes, at: range.lowerBound)
    case .zeros: try store.writeZeros(range)
    }
  }
}

/// What a write puts into its range.
enum Content {
  /// As many bytes as the range has.
  case bytes(UnsafeRawBufferPointer)
  case zeros

  /// The content of `part`, where this is the content of a range that starts at `origin`.
  @inline(__always)
  func part(_ part: Range<UInt64>, from origin: UInt64) -> Content {
    switch self {
    case .bytes(let bytes):
      let start = Int(part.lowerBound - origin)
      let count = Int(part.upperBound - part.lowerBound)
      return .bytes(UnsafeRawBufferPointer(rebasing: bytes[start..<start + count]))
    case .zeros:
      return .zeros
    }
  }
}
