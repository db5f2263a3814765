// The place where a mount appears: what is there before, and how a dead mount is cleared away. The place is pinned when it is
// looked at, so what is mounted on is what was looked at, whatever becomes of the path.

import DiskIO
import Glibc
import SystemPackage

/// A checked place for a mount.
public final class Mountpoint: Sendable {
  /// Where it was when it was looked at: absolute, without symbolic links.
  public let path: FilePath
  /// A file system on a regular file shows the file itself at that path.
  public let isDirectory: Bool
  /// Permission bits of what is there.
  public let permissions: mode_t
  /// Owner of what is there.
  public let user: uid_t
  /// Group of what is there.
  public let group: gid_t
  /// Whether the remains of a killed cowmount were cleared away.
  public let clearedDeadMount: Bool
  /// Whether the directory was made for the mount.
  let isPrivate: Bool

  /// What is there, below the mount that is to come, and the directory that has it. What stands on the place later is found
  /// from there by name, whatever is mounted over, or renamed, on the way to it.
  let pinned: PathWalk

  /// What is held open of it. None of that keeps a mount busy that stands there.
  public var descriptors: [CInt] { [pinned.parent.descriptor, pinned.place.descriptor] }

  /// Looks at a place, and clears it where a cowmount died.
  ///
  /// - Parameters:
  ///   - path: as the user wrote it.
  ///   - allowNonEmpty: whether it may be a directory with entries, or have something mounted on it.
  ///   - deadType: the type in the mount table whose dead mounts may be cleared.
  public init(_ path: FilePath, allowNonEmpty: Bool, deadType: String) throws(FuseError) {
    var walk = try Self.walk(path)
    clearedDeadMount = walk.place.isOnDeadMount
    if clearedDeadMount {
      try Self.clear(walk, type: deadType, path)
      walk = try Self.walk(path)
    }
    if !allowNonEmpty, let type = Self.mounted(at: walk) { throw .busy(path, type: type) }
    let status: FileStatus
    do { status = try walk.place.status() } catch { throw .mountpoint(path, error) }
    switch status.kind {
    case .directory: isDirectory = true
    case .regular: isDirectory = false
    default: throw .notMountable(path)
    }
    permissions = status.permissions
    user = status.user
    group = status.group
    isPrivate = false
    if isDirectory, !allowNonEmpty, try Self.hasEntries(walk.place, path) { throw .notEmpty(path) }
    guard let proper = walk.place.path else { throw .missingMountpoint(path) }
    self.path = proper
    pinned = walk
  }

  /// A directory that was made for the mount.
  init(_ made: consuming PathWalk, _ status: FileStatus, at path: FilePath) {
    self.path = path
    isDirectory = true
    permissions = status.permissions
    user = status.user
    group = status.group
    clearedDeadMount = false
    isPrivate = true
    pinned = made
  }

  private static func walk(_ path: FilePath) throws(FuseError) -> PathWalk {
    do {
      return try PathWalk(path)
    } catch {
      switch error {
      case .unusable(.noSuchFileOrDirectory): throw .missingMountpoint(path)
      case .unusable(let error): throw .mountpoint(path, error)
      case .foreignLink(let link): throw .foreignLink(path, link)
      }
    }
  }

  /// Takes away what a killed server left: any access to such a mount fails with ENOTCONN.
  private static func clear(_ walk: borrowing PathWalk, type: String, _ path: FilePath) throws(FuseError) {
    guard let id = try? walk.place.mountID(), (try? MountTable().entry(id: id))?.type == type,
      walk.place.unmount(), let now = try? File.place(walk.name, in: walk.parent.descriptor), !now.isOnDeadMount
    else { throw .stuck(path) }
  }

  /// The type of what is mounted at just this place.
  private static func mounted(at walk: borrowing PathWalk) -> String? {
    guard let id = try? walk.place.mountID(), id != (try? walk.parent.mountID()) else { return nil }
    return (try? MountTable().entry(id: id))?.type
  }

  private static func hasEntries(_ place: borrowing File, _ path: FilePath) throws(FuseError) -> Bool {
    let descriptor = openat(place.descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor != -1, let directory = fdopendir(descriptor) else { throw .mountpoint(path, .current) }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
      // In bytes: `.` and `..` are the only names that consist of dots and are that short.
      let isOwn = withUnsafeBytes(of: &entry.pointee.d_name) { name in
        let dots = name.prefix { $0 == UInt8(ascii: ".") }.count
        return (1...2).contains(dots) && name[dots] == 0
      }
      if !isOwn { return true }
    }
    return false
  }
}
