// Zero-filled memory that costs nothing until it is touched, for tables sized by a disk. The address range is reserved
// once and only made accessible as far as it is needed, so the tables grow without moving (readers hold pointers) and
// count against no overcommit limit before they are used.

public import SystemPackage

internal import Glibc

/// An address range of zeros that is backed page by page at first touch.
public struct LazyMemory: ~Copyable, @unchecked Sendable {
  // SAFETY: the address range is this value's alone and stays reserved until deinit.
  /// Start of the range.
  public let address: UnsafeMutableRawPointer

  /// Bytes that are reserved. Growing further is not possible.
  public let capacity: Int

  /// Reserves `capacity` bytes (more than 0) of address space. None of it is accessible yet.
  public init(capacity: Int) throws(Errno) {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    let address = mmap(nil, capacity, PROT_NONE, flags, -1, 0)
    guard let address, address != MAP_FAILED else { throw Errno.current }
    self.address = address
    self.capacity = capacity
  }

  deinit {
    munmap(address, capacity)
  }

  /// Makes the first `count` bytes accessible. What was accessible stays as it was.
  public func makeAccessible(_ count: Int) throws(Errno) {
    precondition(count <= capacity)
    guard count > 0 else { return }
    if mprotect(address, count, PROT_READ | PROT_WRITE) == -1 { throw Errno.current }
  }

  /// Turns these bytes, whole pages of the accessible part, back into untouched zeros.
  public func discard(_ range: Range<Int>) {
    precondition(range.upperBound <= capacity)
    guard !range.isEmpty else { return }
    madvise(address + range.lowerBound, range.count, MADV_DONTNEED)
  }
}
