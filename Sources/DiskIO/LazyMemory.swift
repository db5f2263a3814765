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

  /// Bytes of a page of memory: 4 KiB on most machines, 16 or 64 KiB on some.
  public static let pageSize = sysconf(CInt(_SC_PAGESIZE))
  private let pageSize: Int

  /// Reserves `capacity` bytes (more than 0) of address space. None of it is accessible yet.
  ///
  /// - Parameter pageSize: of the kernel. Another than it has is for tests, in debug builds: then it is as strict as one that
  ///   has it.
  public init(capacity: Int, pageSize: Int = LazyMemory.pageSize) throws(Errno) {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    let address = mmap(nil, capacity, PROT_NONE, flags, -1, 0)
    guard let address, address != MAP_FAILED else { throw Errno.current }
    self.address = address
    self.capacity = capacity
    self.pageSize = pageSize
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

  /// Turns these bytes of the accessible part back into zeros. The pages that lie in them as a whole are given back to the
  /// kernel, where it takes them.
  public func discard(_ range: Range<Int>) {
    precondition(range.upperBound <= capacity)
    // Rounded inwards: asked for less than a page, the kernel refuses, or takes more.
    let first = min((range.lowerBound + pageSize - 1) / pageSize * pageSize, range.upperBound)
    let end = max(range.upperBound / pageSize * pageSize, first)
    clear(range.lowerBound..<first)
    // It takes no pages that are locked in memory, for one.
    if first < end, !giveBack(first..<end) { clear(first..<end) }
    clear(end..<range.upperBound)
  }

  private func clear(_ range: Range<Int>) { memset(address + range.lowerBound, 0, range.count) }

  private func giveBack(_ range: Range<Int>) -> Bool {
    #if DEBUG
      guard range.lowerBound.isMultiple(of: pageSize) else { return false }
      let count = (range.count + pageSize - 1) / pageSize * pageSize
    #else
      let count = range.count
    #endif
    return madvise(address + range.lowerBound, count, MADV_DONTNEED) == 0
  }
}
