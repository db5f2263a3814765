// The place where a mount appears: what is there before, how a dead mount is cleared away, and how a live one is taken
// down without ever touching another mount that came to stand at the same path.

import CLinux
import DiskIO
import Glibc
import SystemPackage

/// A checked place for a mount.
public struct Mountpoint: Sendable {
  /// Absolute, without symbolic links: it stays right when the working directory changes.
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

  /// Looks at a place, and clears it where a cowmount died.
  ///
  /// - Parameters:
  ///   - path: as the user wrote it.
  ///   - allowNonEmpty: whether it may be a directory with entries, or have something mounted on it.
  ///   - deadType: the type in the mount table whose dead mounts may be cleared.
  public init(_ path: FilePath, allowNonEmpty: Bool, deadType: String) throws(FuseError) {
    clearedDeadMount = try Self.clearDeadMount(at: path, type: deadType)
    let status: FileStatus
    do {
      status = try FileStatus(of: path)
      self.path = try path.resolved()
    } catch .noSuchFileOrDirectory {
      throw .missingMountpoint(path)
    } catch {
      throw .mountpoint(path, error)
    }
    switch status.kind {
    case .directory: isDirectory = true
    case .regular: isDirectory = false
    default: throw .notMountable(path)
    }
    permissions = status.permissions
    user = status.user
    group = status.group
    guard !allowNonEmpty else { return }
    if let mount = try? MountTable().entry(at: self.path) { throw .busy(path, type: mount.type) }
    if isDirectory, try Self.hasEntries(self.path) { throw .notEmpty(path) }
  }

  /// Takes away what a killed server left: any access to such a mount fails with ENOTCONN.
  ///
  /// - Returns: whether there was one.
  private static func clearDeadMount(at path: FilePath, type: String) throws(FuseError) -> Bool {
    // Links are followed as far as a dead mount lets them be.
    let place = (try? path.resolved()) ?? (try? path.resolvingParent()) ?? path
    guard isDead(place) else { return false }
    guard (try? MountTable().entry(at: place))?.type == type else { throw .stuck(path) }
    unmount(place)
    guard !isDead(place) else { throw .stuck(path) }
    return true
  }

  /// Asked with statfs(2): attributes the kernel remembers, and answers for the dead.
  private static func isDead(_ place: FilePath) -> Bool {
    var status = statvfs()
    return place.withPlatformString({ statvfs($0, &status) }) == -1 && [ENOTCONN, ECONNABORTED].contains(errno)
  }

  private static func hasEntries(_ path: FilePath) throws(FuseError) -> Bool {
    guard let directory = path.withPlatformString({ opendir($0) }) else {
      throw .mountpoint(path, .current)
    }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { return true }
    }
    return false
  }

  /// The device number of the mount that is uppermost here, as the mount table writes it.
  func device() -> String? {
    (try? MountTable().entry(at: path))?.device
  }

  /// Begins to detach the mount, if the one that stands here is `number`. What has files of it open keeps them.
  ///
  /// That may hang where the image does: a new program closes what this process has open, which asks the server of a file.
  /// So another process does it, and lets go of `device`, the session's, before: should this one end meanwhile, the kernel
  /// fails whatever waits for it.
  ///
  /// - Returns: the process, to be waited for; nil where there is nothing to detach or it is done.
  func beginDetaching(_ number: String, device: CInt) -> pid_t? {
    self.device() == number ? Self.beginDetaching(path, device: device) : nil
  }

  private static func beginDetaching(_ path: FilePath, device: CInt = -1) -> pid_t? {
    path.withPlatformString { path in
      let child = clinux_begin_detaching(path, device)
      // Where there can be no more processes, this one has to do.
      if child == -1 { umount2(path, CInt(MNT_DETACH | UMOUNT_NOFOLLOW)) }
      return child == -1 ? nil : child
    }
  }

  /// Detaches what is uppermost at `path`.
  private static func unmount(_ path: FilePath) {
    guard let child = beginDetaching(path) else { return }
    while waitpid(child, nil, 0) == -1, errno == EINTR {}
  }
}
