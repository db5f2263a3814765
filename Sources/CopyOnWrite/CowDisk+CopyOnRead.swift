// Copy-on-read: what a read has to ask the base for stays in the overlay, so that a slow base is asked once. Blocks are
// copied as a whole, also those that the read needs only a part of. A hole of the base is not copied: it is not asked for.
//
// The order is base, lock, state, store. The base never changes, so what it said stays true of an unallocated block for as
// long as no less of the base can be seen, and the lock is taken only when the bytes are there. A copy is a convenience:
// where it cannot be stored, the read has its bytes all the same.

internal import DiskIO
internal import Synchronization
internal import SystemPackage

extension CowDisk {
  // MARK: Making copies

  /// Reads bytes that lie in unallocated blocks, as they were a moment ago, and puts copies of the blocks into the overlay.
  ///
  /// - Returns: how many bytes were read; 0 where others were at the same blocks: look at their states again.
  @inline(never)
  func readCopying(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
    let end = offset + UInt64(buffer.count)
    let block = geometry.block(of: offset)
    let limit = geometry.blockCount(for: end)
    guard isCopying, hasSpaceForCopies(of: geometry.blockSize) else {
      try readBase(into: buffer, at: offset)
      return buffer.count
    }
    // Not to know about holes is no reason for a read to fail.
    let run = (try? baseRun(at: block, limit: limit)) ?? (isData: true, end: limit)
    // What a frozen layer has is here already.
    let source = top.pointee.imageRun(at: offset, limit: min(end, geometry.start(of: run.end)))
    let count = Int(source.end - offset)
    let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
    guard run.isData else {
      part.initializeMemory(as: UInt8.self, repeating: 0)
      return count
    }
    guard source.isImage else {
      try readBase(into: part, at: offset)
      return count
    }
    let blocks = block..<geometry.blockCount(for: source.end)
    guard copies.begin(blocks, for: .reading) else { return 0 }
    defer { copies.end(blocks, for: .reading) }
    // Who held them before may have copied them since this read looked.
    guard map.run(at: block, limit: blocks.upperBound) == BlockRun(state: .unallocated, end: blocks.upperBound) else {
      return 0
    }
    try readBaseCopying(blocks, into: part, at: offset)
    return count
  }

  private var isCopying: Bool {
    switch options.copyOnRead {
    case .never: false
    case .always: true
    case .asLongAs(let condition): condition()
    }
  }

  /// Reads a part of claimed blocks, and copies all of them.
  private func readBaseCopying(
    _ blocks: Range<UInt64>, into part: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(Errno) {
    let visible = visibleBase
    let whole = geometry.bytes(of: blocks)
    // Nothing of them may be left to see.
    guard whole.lowerBound < visible else { return try readBase(into: part, at: offset) }
    let needed = whole.lowerBound..<min(whole.upperBound, visible)
    if offset == needed.lowerBound, offset + UInt64(part.count) >= needed.upperBound {
      try readBase(into: part, at: offset)
      try? store(UnsafeRawBufferPointer(rebasing: part[..<needed.count]), copiedFrom: needed)
      return
    }
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: needed.count, alignment: 4096)
    defer { copy.deallocate() }
    do {
      try askBase(into: copy, at: needed.lowerBound)
    } catch {
      // Bytes that nobody asked for are no reason for a read to fail.
      return try readBase(into: part, at: offset)
    }
    let asked = UnsafeRawBufferPointer(rebasing: copy.dropFirst(Int(offset - needed.lowerBound)).prefix(part.count))
    part.copyMemory(from: asked)
    UnsafeMutableRawBufferPointer(rebasing: part[asked.count...]).initializeMemory(as: UInt8.self, repeating: 0)
    try? store(UnsafeRawBufferPointer(copy), copiedFrom: needed)
  }

  /// Reads what can be seen below the top layer; what lies beyond it is zeros.
  func readBase(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    try top.pointee.readBelow(into: buffer, at: offset)
  }

  // MARK: Storing copies

  /// Most bytes, but for a larger block, that are stored without letting go of the lock.
  private static let piece: UInt64 = 128 << 10

  /// Puts bytes of the base, read a moment ago, into blocks that are still unallocated.
  ///
  /// - Parameter range: where they are from: whole blocks, the last of which may end with what can be seen of the base.
  /// - Throws: what the overlay reports, `.noSpace` where copies would leave too little to writers; nothing more is stored
  ///   then.
  func store(_ bytes: UnsafeRawBufferPointer, copiedFrom range: Range<UInt64>) throws(Errno) {
    let content = Content.bytes(bytes)
    var position = range.lowerBound
    while position < range.upperBound {
      let block = geometry.block(of: position)
      let next = max(geometry.block(of: position + Self.piece), block + 1)
      let part = position..<min(range.upperBound, geometry.start(of: min(next, stripes.endOfStretch(of: block))))
      guard hasSpaceForCopies(of: part.upperBound - part.lowerBound) else { throw .noSpace }
      let isThere = try locked(part) { () throws(Errno) in
        // Less of the base may be seen than when it was read, but more never.
        guard visibleBase >= range.upperBound else { return }
        try forEachRun(in: part) { (state, run) throws(Errno) in
          guard state == .unallocated else { return }
          try firstWrite(run, with: content.part(run, from: range.lowerBound), state: state, becoming: .cached)
        }
      }
      guard isThere else { return }
      position = part.upperBound
    }
  }

  /// Whether copies of so many bytes leave enough space for writers.
  func hasSpaceForCopies(of bytes: UInt64) -> Bool {
    guard let unused = try? unusedSpace() else { return false }
    return unused >= bytes.addingSaturated(spareSpace)
  }
}
