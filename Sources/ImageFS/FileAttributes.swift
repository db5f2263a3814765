// What stat(2) shows and chmod, chown and utimens change. Kept in memory for the mount's life.

internal import FuseSession
public import Glibc

/// Mode, owner and times of the exposed file, or of the directory that it is in.
public struct FileAttributes: Sendable {
  /// File type and permission bits.
  public var mode: mode_t
  /// Owner.
  public var user: uid_t
  /// Group.
  public var group: gid_t
  /// Last access.
  public var accessed: timespec
  /// Last change of the content.
  public var modified: timespec
  /// Last change of the inode.
  public var changed: timespec

  /// Creates attributes with one time for all three.
  public init(mode: mode_t, user: uid_t, group: gid_t, time: timespec) {
    self.mode = mode
    self.user = user
    self.group = group
    accessed = time
    modified = time
    changed = time
  }

  /// Applies what a setattr changes, sizes excepted.
  mutating func apply(_ changes: AttributeChanges, from new: stat) {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    if changes.contains(.mode) { mode = (mode & S_IFMT) | (new.st_mode & 0o7777) }
    if changes.contains(.user) { user = new.st_uid }
    if changes.contains(.group) { group = new.st_gid }
    if changes.contains(.accessTime) { accessed = changes.contains(.accessTimeNow) ? now : new.st_atim }
    if changes.contains(.modificationTime) { modified = changes.contains(.modificationTimeNow) ? now : new.st_mtim }
    if changes.contains(.size) && !changes.contains(.modificationTime) { modified = now }
    changed = changes.contains(.changeTime) ? new.st_ctim : now
  }

  func status(inode: UInt64) -> stat {
    var status = stat()
    status.st_ino = ino_t(inode)
    status.st_mode = mode
    status.st_nlink = mode & S_IFMT == S_IFDIR ? 2 : 1
    status.st_uid = user
    status.st_gid = group
    status.st_blksize = 4096
    status.st_atim = accessed
    status.st_mtim = modified
    status.st_ctim = changed
    return status
  }
}
