// What a disk did so far, in numbers. They are counted where a system call or a copy of many bytes is made anyway, and
// nobody waits for them: a sum that is read while others work may be behind.

internal import Synchronization

/// What a disk did so far.
public struct Statistics: Equatable, Sendable {
  /// How often bytes were asked of the base.
  public var baseReads: UInt64
  /// How many bytes were asked of the base.
  public var baseBytes: UInt64
  /// Bytes of blocks that the overlay holds because they were written.
  public var writtenBytes: UInt64
  /// Bytes of blocks that the overlay holds a copy of.
  public var cachedBytes: UInt64
}

/// The numbers that only grow.
struct Counters: ~Copyable, Sendable {
  private let baseReads = Atomic<UInt64>(0)
  private let baseBytes = Atomic<UInt64>(0)

  /// Counts a read of the base.
  @inline(__always)
  func countBaseRead(_ bytes: Int) {
    baseReads.add(1, ordering: .relaxed)
    baseBytes.add(UInt64(bytes), ordering: .relaxed)
  }

  var base: (reads: UInt64, bytes: UInt64) {
    (baseReads.load(ordering: .relaxed), baseBytes.load(ordering: .relaxed))
  }
}

extension CowDisk {
  /// What the disk did so far.
  public var statistics: Statistics {
    let base = pool.counters.base
    return Statistics(
      baseReads: base.reads, baseBytes: base.bytes, writtenBytes: allocatedBytes, cachedBytes: cachedBytes)
  }
}
