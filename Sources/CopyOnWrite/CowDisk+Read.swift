// Reading: no lock, no allocation. The answer is a list of vectors, so that overlay bytes go to the kernel straight from
// the overlay's mapping, and zeros from one page of them; only base bytes, and copies of them, are read into memory first.
// Reading that copies from the base is in CowDisk+CopyOnRead.swift.

internal import DiskIO
public import Glibc
public import SystemPackage

extension CowDisk {
  /// The most vectors that ``gather(at:count:scratch:into:)`` needs for `count` bytes.
  public static func vectorCount(forBytes count: Int) -> Int {
    count / Geometry.blockSizes.lowerBound + count / OverlayStore.zeroCount + 4
  }

  /// Finds the bytes from `offset` on.
  ///
  /// The vectors stay valid for the disk's life. Overlay bytes are not copied: a write that comes after this call may
  /// show in them, and touching them can fault where the disk below fails, so hand them to a system call (which answers
  /// EFAULT) and not to code.
  ///
  /// - Parameters:
  ///   - offset: first byte; `offset + count` must not be beyond ``size`` (or a size that the disk had a moment ago).
  ///   - scratch: at least `count` bytes; what must be read into memory lands at its own place in it.
  ///   - vectors: room for ``vectorCount(forBytes:)``.
  /// - Returns: how many vectors were filled in. Their lengths add up to `count`.
  /// - Throws: what the base or the overlay reports.
  public func gather(
    at offset: UInt64, count: Int, scratch: UnsafeMutableRawBufferPointer,
    into vectors: UnsafeMutableBufferPointer<iovec>
  ) throws(Errno) -> Int {
    precondition(count <= scratch.count && Self.vectorCount(forBytes: count) <= vectors.count)
    guard count > 0, let scratch = scratch.baseAddress else { return 0 }
    let end = offset + UInt64(count)
    let limit = geometry.blockCount(for: end)
    var list = VectorList(vectors)
    var position = offset
    while position < end {
      let run = map.run(at: geometry.block(of: position), limit: limit)
      let runEnd = min(end, geometry.start(of: run.end))
      // SAFETY: position - offset < count <= scratch.count.
      let place = scratch + Int(position - offset)
      switch run.state {
      case .allocated:
        let length = Int(runEnd - position)
        if let pointer = store.pointer(at: position, count: length) {
          list.append(pointer, length)
        } else {
          try store.read(into: UnsafeMutableRawBufferPointer(start: place, count: length), at: position)
          list.append(place, length)
        }
      case .zero:
        appendZeros(Int(runEnd - position), to: &list)
      case .cached:
        let length = Int(runEnd - position)
        try top.pointee.readCopy(into: UnsafeMutableRawBufferPointer(start: place, count: length), at: position)
        list.append(place, length)
      case .unallocated where copiesReads:
        let buffer = UnsafeMutableRawBufferPointer(start: place, count: Int(runEnd - position))
        let length = try readCopying(into: buffer, at: position)
        if length > 0 { list.append(place, length) }
        position += UInt64(length)
        continue
      case .unallocated:
        // Loaded after the state: see `read | shrink` in the design note.
        let dataEnd = min(runEnd, max(position, visibleBase))
        let length = Int(dataEnd - position)
        if length > 0 {
          try askBase(into: UnsafeMutableRawBufferPointer(start: place, count: length), at: position)
          list.append(place, length)
        }
        appendZeros(Int(runEnd - dataEnd), to: &list)
      }
      position = runEnd
    }
    return list.count
  }

  private func appendZeros(_ count: Int, to list: inout VectorList) {
    var left = count
    while left > 0 {
      let zeros = store.zeroBytes(min(left, OverlayStore.zeroCount))
      // Nobody writes through a vector that is sent; C's iovec has no const.
      list.append(UnsafeMutableRawPointer(mutating: zeros.baseAddress), zeros.count)
      left -= zeros.count
    }
  }

  /// Reads bytes into memory, for callers that want no vectors.
  ///
  /// - Parameters:
  ///   - buffer: what to fill.
  ///   - offset: first byte; the whole range must lie within the disk.
  /// - Throws: what the base or the overlay reports.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    let vectors = UnsafeMutableBufferPointer<iovec>.allocate(capacity: Self.vectorCount(forBytes: buffer.count))
    defer { vectors.deallocate() }
    let filled = try gather(at: offset, count: buffer.count, scratch: buffer, into: vectors)
    var place = 0
    for vector in vectors[..<filled] {
      let target = UnsafeMutableRawBufferPointer(rebasing: buffer[place..<place + vector.iov_len])
      let source = UnsafeRawBufferPointer(start: vector.iov_base, count: vector.iov_len)
      // Base bytes are already in their place.
      if source.baseAddress != UnsafeRawPointer(target.baseAddress), !GuardedCopy.copy(source, to: target) {
        throw .ioError
      }
      place += vector.iov_len
    }
  }
}

/// Vectors in a caller's buffer; neighbours in memory become one.
private struct VectorList {
  private let vectors: UnsafeMutableBufferPointer<iovec>
  private(set) var count = 0

  init(_ vectors: UnsafeMutableBufferPointer<iovec>) {
    self.vectors = vectors
  }

  mutating func append(_ pointer: UnsafeMutableRawPointer?, _ length: Int) {
    if count > 0, let last = vectors[count - 1].iov_base, last + vectors[count - 1].iov_len == pointer {
      vectors[count - 1].iov_len += length
    } else {
      vectors[count] = iovec(iov_base: pointer, iov_len: length)
      count += 1
    }
  }
}
