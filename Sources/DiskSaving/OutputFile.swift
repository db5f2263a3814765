// The file that is saved to. It has no name until it is whole, so that nothing is left however the process ends; on a file
// system that has no such files it has a name of its own, which any end but SIGKILL removes.

internal import CLinux
internal import DiskIO
internal import Glibc
internal import SystemPackage

/// A file in the making.
final class OutputFile {
  private let path: FilePath
  private let directory: File
  private let name: FilePath
  private let replaces: Bool
  let file: File
  /// What it is called until it is whole; nil where it has no name.
  private var draft: FilePath?

  /// What the file must not be, or lie on.
  struct Others {
    var image: FileIdentity?
    var mountDevice: UInt64
    var mountpoint: FilePath
    /// Who may read and write, besides its owner.
    var permissions: mode_t
  }

  /// Finds the place, which is the same until the end whatever becomes of the path, and makes the file.
  init(_ path: FilePath, replaces: Bool, _ others: Others) throws(SaveError) {
    self.path = path
    self.replaces = replaces
    guard let last = path.lastComponent, last.kind == .regular else { throw .unwritable(path, .isDirectory) }
    name = FilePath(root: nil, [last])
    let parent = path.removingLastComponent()
    do throws(Errno) {
      directory = try File.open(
        parent.isEmpty ? "." : parent, in: AT_FDCWD, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
      let identity = try directory.status().identity
      if identity.device == others.mountDevice { throw .notSupported }
    } catch .notSupported {
      throw .onMount(path, mountpoint: others.mountpoint)
    } catch {
      throw .unwritable(path, error)
    }
    if let present = try? File.place(name, in: directory.descriptor), let status = try? present.status() {
      if status.identity == others.image { throw .isImage(path) }
      if status.identity.device == others.mountDevice { throw .onMount(path, mountpoint: others.mountpoint) }
      guard replaces else { throw .exists(path) }
      guard status.kind == .regular else { throw .noRegularFile(path) }
    }
    let mode = others.permissions & 0o666 | 0o600
    do throws(Errno) {
      file = try Self.unnamed(in: directory, mode)
      draft = nil
    } catch .notSupportedOnSocket, .isDirectory, .invalidArgument, .notSupported {
      let draft = Self.newName
      do throws(Errno) {
        file = try Self.open(draft, in: directory, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
      } catch {
        throw .unwritable(path, error)
      }
      self.draft = draft
    } catch {
      throw .unwritable(path, error)
    }
    removeOnSignals()
  }

  deinit {
    clinux_remove_on_signals(-1, nil)
    removeDraft()
  }

  private static var newName: FilePath { FilePath(".cowmount-\(getpid())-\(UInt32.random(in: 0...UInt32.max))") }

  private static func unnamed(in directory: borrowing File, _ mode: mode_t) throws(Errno) -> File {
    try open(".", in: directory, O_RDWR | O_CLOEXEC | clinux_o_tmpfile, mode)
  }

  private static func open(
    _ name: FilePath, in directory: borrowing File, _ flags: CInt, _ mode: mode_t
  ) throws(Errno) -> File {
    let descriptor = name.withPlatformString { openat(directory.descriptor, $0, flags, mode) }
    guard descriptor != -1 else { throw .current }
    return File(adopting: descriptor)
  }

  private func removeOnSignals() {
    draft?.withPlatformString { clinux_remove_on_signals(directory.descriptor, $0) }
  }

  private func removeDraft() {
    if let draft { _ = draft.withPlatformString { unlinkat(directory.descriptor, $0, 0) } }
    draft = nil
  }

  /// Where programs that inherit the file find it.
  var inheritedPath: String { "/proc/self/fd/\(file.descriptor)" }

  /// Lets programs that are started inherit the file.
  func bequeath() { _ = fcntl(file.descriptor, F_SETFD, 0) }

  /// Gives the file its name, once all of it is on its disk.
  func publish() throws(SaveError) {
    do throws(Errno) {
      guard fsync(file.descriptor) == 0 else { throw .current }
      try name(it: replaces)
      guard fsync(directory.descriptor) == 0 else { throw .current }
    } catch .fileExists {
      throw .exists(path)
    } catch {
      throw .unwritable(path, error)
    }
  }

  private func name(it replaces: Bool) throws(Errno) {
    if draft == nil {
      if !replaces { return try link(as: name) }
      // A link replaces nothing.
      let draft = Self.newName
      self.draft = draft
      removeOnSignals()
      try link(as: draft)
    }
    guard let draft else { return }
    let result = draft.withPlatformString { draft in
      name.withPlatformString { clinux_rename_within(directory.descriptor, draft, $0, replaces ? 1 : 0) }
    }
    guard result == 0 else { throw .current }
    self.draft = nil
  }

  private func link(as name: FilePath) throws(Errno) {
    let result = file.link.withPlatformString { link in
      name.withPlatformString { linkat(AT_FDCWD, link, directory.descriptor, $0, AT_SYMLINK_FOLLOW) }
    }
    guard result == 0 else { throw .current }
  }
}
