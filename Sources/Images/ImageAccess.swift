// Who can reach an image: what its file and every directory on the way to it say. What follows from that is the mount's.

public import DiskIO
public import Glibc
internal import SystemPackage

/// Whom a file or directory lets in.
public struct FileAccess: Equatable, Sendable {
  /// Owner.
  public var user: uid_t
  /// Group.
  public var group: gid_t
  /// Permission bits (`0o777`). With a list, the group's are no more than its mask.
  public var permissions: mode_t
  /// The access control list, where there is one.
  public var list: AccessList?

  /// Creates what a file system would say.
  public init(user: uid_t, group: gid_t, permissions: mode_t, list: AccessList? = nil) {
    self.user = user
    self.group = group
    self.permissions = permissions & 0o777
    self.list = list
  }

  init(_ status: FileStatus, _ list: AccessList?) {
    self.init(user: status.user, group: status.group, permissions: status.permissions, list: list)
  }
}

/// Whom an image lets in.
public struct ImageAccess: Equatable, Sendable {
  /// The file's own.
  public var file: FileAccess
  /// That of the directories on its path, symbolic links followed.
  public var directories: [FileAccess]

  /// Creates what file systems would say.
  public init(file: FileAccess, directories: [FileAccess] = []) {
    self.file = file
    self.directories = directories
  }

  /// Asks for that of an open file.
  ///
  /// - Parameter path: where it is, absolute and without symbolic links.
  init(of file: borrowing File, _ status: FileStatus, at path: FilePath) throws(Errno) {
    self.init(file: FileAccess(status, AccessList.of(file)))
    var directory = path
    while directory.removeLastComponent() {
      directories.append(FileAccess(try FileStatus(of: directory, followingLinks: false), AccessList.of(directory)))
    }
  }
}
