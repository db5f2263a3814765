// Bringing the page cache into a known state before the clock starts.

import Glibc
import SystemPackage

/// What lies in the page cache when a measurement starts.
enum CacheState: String, Sendable {
  /// Nothing: everything was written back, then dropped.
  case cold
  /// The exposed file, as far as its file system lets the kernel keep it; and with it the base below.
  case warm
  /// The base, but nothing of the exposed file. The state for writes and for direct I/O, where the disk's own speed
  /// would only blur the difference.
  case baseWarm
}

enum PageCache {
  /// Brings about `state` for an exposed file of which the first `length` bytes are worked on.
  static func set(_ state: CacheState, exposed: Exposed, length: Int64) throws {
    switch state {
    case .cold: try dropAll(exposed)
    case .warm: try readThrough(exposed.file, length: length)
    case .baseWarm:
      try drop(exposed.file)
      try readThrough(exposed.base, length: length)
    }
  }

  /// Drops the whole page cache, and the cached inodes with it.
  ///
  /// The kernel drops clean pages only. The fsync of the exposed file comes first because a `sync` does not wait for
  /// dirty pages of a FUSE file system.
  private static func dropAll(_ exposed: Exposed) throws {
    try flush(exposed.file)
    try dropAll()
  }

  static func dropAll() throws {
    sync()
    let control = try FileDescriptor.open("/proc/sys/vm/drop_caches", .writeOnly)
    try control.closeAfter { _ = try control.writeAll("3\n".utf8) }
  }

  /// Drops one file's pages.
  private static func drop(_ path: FilePath) throws {
    try flush(path)
    let file = try FileDescriptor.open(path, .readOnly)
    try file.closeAfter { _ = posix_fadvise(file.rawValue, 0, 0, POSIX_FADV_DONTNEED) }
  }

  static func flush(_ path: FilePath) throws {
    let file = try FileDescriptor.open(path, .readOnly)
    // Without an answer worth having: xmount knows no fsync, and its writes are through by then anyway.
    try file.closeAfter { _ = fsync(file.rawValue) }
  }
}
