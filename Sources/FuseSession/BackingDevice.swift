// The kernel's limits on caching a FUSE mount, raised where this process may (root).
//
// The kernel takes a FUSE server for slow and unreliable: readahead of 128 KiB, and a hundredth of the dirty limit, held
// to strictly, so that writers are throttled early. Here the server is as fast as the overlay's file system and its
// dirty pages are written to local disk, so the mount gets what a disk gets.

import DiskIO
import SystemPackage

extension StandingMount {
  /// Raises the limits, through the bdi of the mount in sysfs (Documentation/ABI/testing/sysfs-class-bdi). What cannot be
  /// raised stays: the mount is slower then, not wrong.
  public func raiseLimits() {
    let directory = FilePath("/sys/class/bdi").appending(device)
    for (name, value) in [("read_ahead_kb", "4096"), ("strict_limit", "0"), ("max_ratio", "100")] {
      try? File.write(value, to: directory.appending(name))
    }
  }
}
