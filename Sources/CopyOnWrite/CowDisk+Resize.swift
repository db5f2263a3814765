// Changing the size. Alone under the gate, so no transition is under way; readers and in-place writers may be.

internal import DiskIO
internal import Synchronization
public import SystemPackage

extension CowDisk {
  /// Sets the size in bytes. What grows reads as zeros; what is cut off gives its space back and never comes back.
  ///
  /// - Throws: `.fileTooLarge` where the overlay's file system or the block map cannot hold that much; the size stays.
  public func resize(to newSize: UInt64) throws(Errno) {
    try reserving.withLock { (_) throws(Errno) in
      try gate.exclusive { () throws(Errno) in
        if newSize > size { try growLocked(to: newSize) } else { try shrinkLocked(to: newSize) }
      }
    }
  }

  /// Makes the disk at least `newSize` bytes large. Never cuts off what another thread made longer.
  func grow(toAtLeast newSize: UInt64) throws(Errno) {
    try gate.exclusive { () throws(Errno) in
      if newSize > size { try growLocked(to: newSize) }
    }
  }

  /// Makes room for a disk of `newSize` bytes, and leaves its size as it is.
  func makeRoom(for newSize: UInt64) throws(Errno) {
    try gate.exclusive { () throws(Errno) in try makeRoomLocked(for: newSize) }
  }

  private func makeRoomLocked(for newSize: UInt64) throws(Errno) {
    guard newSize <= geometry.largestDisk else { throw .fileTooLarge }
    try reserved.makeAccessible(geometry.blockCount(for: newSize))
    try top.pointee.makeRoom(for: newSize)
  }

  private func growLocked(to newSize: UInt64) throws(Errno) {
    try makeRoomLocked(for: newSize)
    // The rest of the last block comes into view. Whoever wrote late before a cut may have left bytes there.
    let tail = size..<geometry.roundedUp(size)
    if !tail.isEmpty, map.state(of: geometry.block(of: size)).isInOverlay { try store.writeZeros(tail) }
    publish(size: newSize)
  }

  private func shrinkLocked(to newSize: UInt64) throws(Errno) {
    let oldSize = size
    guard newSize < oldSize else { return }
    let firstGone = geometry.blockCount(for: newSize)
    let afterLast = geometry.blockCount(for: oldSize)
    // Order: see `read | shrink` in the design note.
    publish(size: newSize)
    hideBase(from: newSize)
    let before = top.pointee.ownBytes
    map.clear(from: firstGone, limit: afterLast)
    limit.giveBack(before - top.pointee.ownBytes)
    reserved.clear(from: firstGone, limit: afterLast)
    // The space goes last, and a failure to give it back is no failure to cut: the map already says what is there.
    if firstGone < afterLast { try? store.punch(geometry.bytes(of: firstGone..<afterLast)) }
  }
}
