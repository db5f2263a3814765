// A mount of ours that stands somewhere: known by its number and its device, found wherever it is now, and taken down without
// ever touching another that came to stand at the same path.

import DiskIO
import Glibc
import SystemPackage

/// Which mount it is.
public struct StandingMount: Equatable, Sendable {
  /// Its number in the mount table.
  public let id: UInt64
  /// The device number of its file system, `major:minor`.
  public let device: String

  /// Creates it from what the mount table says.
  public init(id: UInt64, device: String) {
    self.id = id
    self.device = device
  }

  init(_ entry: MountTableEntry) {
    self.init(id: entry.id, device: entry.device)
  }

  func isEntry(_ entry: MountTableEntry) -> Bool { entry.id == id && entry.device == device }
}

/// What became of taking a mount down.
public enum Detachment: Equatable, Sendable {
  /// It is gone.
  case gone
  /// It stands at this path and cannot be reached, since something else is mounted over it.
  case covered(FilePath)
  /// It stands at this path, and the system refused.
  case refused(FilePath)
}

extension Mountpoint {
  /// The mount that this process made here; nil where there is none.
  ///
  /// What stood here before is known by its number, which is nobody else's as long as the place is pinned. (Others' numbers
  /// come and go.) Somebody who owns the directory may have put something else in the place, but no mount that is root's.
  ///
  /// - Parameter isDead: whether it must be one that nobody serves.
  public func findMount(isDead: Bool = false) -> StandingMount? {
    guard let before = try? pinned.place.mountID() else { return nil }
    if let top = try? File.place(pinned.name, in: pinned.parent.descriptor),
      let mount = top.mount(besides: before, isDead: isDead)
    {
      return mount
    }
    // It was renamed before something was mounted on it.
    guard let path = pinned.place.path, let top = try? File.place(path) else { return nil }
    return top.mount(besides: before, isDead: isDead)
  }

  /// The root of a mount of ours. While it is held, nobody can unmount it but lazily.
  ///
  /// - Returns: nil where it cannot be reached.
  public func root(of mount: StandingMount) -> File? {
    if let place = try? File.place(pinned.name, in: pinned.parent.descriptor), place.isRoot(of: mount) { return place }
    // Its directory was moved, in another mount namespace.
    guard let entry = try? MountTable().entry(id: mount.id), mount.isEntry(entry),
      let place = try? File.place(entry.mountpoint), place.isRoot(of: mount)
    else { return nil }
    return place
  }

  /// Takes a mount of ours down, wherever it is by now. What has files of it open keeps them.
  ///
  /// May hang where the server does, since the kernel has it take what was written before.
  public func detach(_ mount: StandingMount) -> Detachment {
    guard let entry = try? MountTable().entry(id: mount.id), mount.isEntry(entry) else { return .gone }
    guard let root = root(of: mount) else { return .covered(entry.mountpoint) }
    if root.unmount() { return .gone }
    let isLeft = (try? MountTable().entry(id: mount.id)).map(mount.isEntry) ?? false
    return isLeft ? .refused(entry.mountpoint) : .gone
  }
}

extension File {
  /// The mount of this user's that it is on.
  fileprivate func mount(besides before: UInt64, isDead: Bool) -> StandingMount? {
    guard let id = try? mountID(), id != before, let entry = try? MountTable().entry(id: id),
      entry.type == "fuse" || entry.type.utf8.starts(with: "fuse.".utf8),
      entry.options.split(separator: ",").contains("user_id=\(getuid())"), !isDead || isOnDeadMount
    else { return nil }
    return StandingMount(entry)
  }

  fileprivate func isRoot(of mount: StandingMount) -> Bool {
    guard let id = try? mountID(), id == mount.id, let entry = try? MountTable().entry(id: id) else { return false }
    return mount.isEntry(entry)
  }

  /// Detaches the mount that this is the root of: directly where this process may, else through fusermount3.
  ///
  /// - Returns: whether that worked.
  func unmount() -> Bool {
    if link.withPlatformString({ umount2($0, CInt(MNT_DETACH)) }) == 0 { return true }
    guard let path else { return false }
    return Fusermount.unmount(path, isLazy: true)
  }
}

/// The program that mounts and unmounts for ordinary users.
public enum Fusermount {
  /// Unmounts; lazily, so that what is in use stays for those who use it, or not at all where it is in use.
  ///
  /// - Returns: whether that worked.
  public static func unmount(_ path: FilePath, isLazy: Bool) -> Bool {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    return path.withPlatformString { path in
      var words: [UnsafeMutablePointer<CChar>?] = (["fusermount3", "-u"] + (isLazy ? ["-z"] : []) + ["-q", "--"]).map {
        (word: String) in
        strdup(word)
      }
      words += [strdup(path), nil]
      defer { for word in words { free(word) } }
      var child = pid_t()
      guard posix_spawnp(&child, "fusermount3", nil, &attributes, words, environ) == 0 else { return false }
      var status: CInt = 0
      while waitpid(child, &status, 0) == -1 { if errno != EINTR { return false } }
      return status == 0
    }
  }
}
