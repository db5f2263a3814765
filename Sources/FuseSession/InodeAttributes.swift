// What stat(2) shows of an inode and chmod, chown, truncate and utimens change. Types of its own, so that nobody above
// needs libfuse's headers to read a field.

import CFuse
import DiskIO
import Glibc

/// The attributes of a file or directory.
public struct InodeAttributes: Sendable {
  /// Inode number.
  public var inode: UInt64
  /// File type and permission bits.
  public var mode: UInt32
  /// Owner.
  public var user: UInt32
  /// Group.
  public var group: UInt32
  /// Size in bytes.
  public var size: UInt64 = 0
  /// Space in use, in units of 512 bytes.
  public var sectors: UInt64 = 0
  /// Last access.
  public var accessed: Timestamp
  /// Last change of the content.
  public var modified: Timestamp
  /// Last change of the attributes.
  public var changed: Timestamp

  /// Attributes of a directory.
  public static func directory(inode: UInt64, permissions: UInt32, user: UInt32, group: UInt32, time: Timestamp) -> Self
  {
    Self(
      inode: inode, mode: S_IFDIR | permissions, user: user, group: group, accessed: time, modified: time, changed: time
    )
  }

  /// Attributes of a regular file.
  public static func file(inode: UInt64, permissions: UInt32, user: UInt32, group: UInt32, time: Timestamp) -> Self {
    Self(
      inode: inode, mode: S_IFREG | permissions, user: user, group: group, accessed: time, modified: time, changed: time
    )
  }

  /// Applies what a setattr changes, the size excepted.
  public mutating func apply(_ changes: AttributeChanges, from new: InodeAttributes) {
    let now = Timestamp.now
    if changes.contains(.mode) { mode = (mode & S_IFMT) | (new.mode & 0o7777) }
    if changes.contains(.user) { user = new.user }
    if changes.contains(.group) { group = new.group }
    if changes.contains(.accessTime) { accessed = changes.contains(.accessTimeNow) ? now : new.accessed }
    if changes.contains(.modificationTime) {
      modified = changes.contains(.modificationTimeNow) ? now : new.modified
    } else if changes.contains(.size) {
      modified = now
    }
    changed = changes.contains(.changeTime) ? new.changed : now
  }
}

extension InodeAttributes {
  init(_ raw: stat, inode: UInt64) {
    self.init(
      inode: inode, mode: raw.st_mode, user: raw.st_uid, group: raw.st_gid, size: UInt64(max(0, raw.st_size)),
      accessed: Timestamp(raw.st_atim), modified: Timestamp(raw.st_mtim), changed: Timestamp(raw.st_ctim))
  }

  /// As libfuse wants it.
  var raw: stat {
    var raw = stat()
    raw.st_ino = ino_t(inode)
    raw.st_mode = mode
    raw.st_nlink = mode & S_IFMT == S_IFDIR ? 2 : 1
    raw.st_uid = user
    raw.st_gid = group
    raw.st_size = off_t(size)
    raw.st_blocks = blkcnt_t(sectors)
    raw.st_blksize = 4096
    raw.st_atim = accessed.timespec
    raw.st_mtim = modified.timespec
    raw.st_ctim = changed.timespec
    return raw
  }
}
