// What the keeper has done through the mount itself. The answer may never come, so a process of its own waits for it
// (cowmount-sync).

internal import CLinux
internal import DiskIO
internal import FuseSession
internal import Glibc
internal import SystemPackage

extension MountKeeper {
  /// The kernel makes up the root's attributes before it knows anybody to ask. With the writeback cache it then trusts its
  /// own size and times of a regular file, and would show an empty one: so they are set, as a user would set them, and the
  /// server answers that. (A mount that cannot be written to has no such cache.)
  ///
  /// - Returns: a process that does it, since the answer may never come. It ends with the error, or 0.
  func correctFile(_ standing: StandingMount, size: UInt64, modified: Timestamp) throws -> pid_t {
    guard let root = mountpoint.root(of: standing) else { throw FuseError.displaced(mountpoint.path) }
    guard let size = off_t(exactly: size) else { throw FuseError.uncorrected(mountpoint.path, .fileTooLarge) }
    let times = [timespec(tv_sec: 0, tv_nsec: Int(clinux_utime_omit)), modified.timespec]
    let child = fork()
    guard child != -1 else { throw Errno.current }
    guard child == 0 else { return child }
    clinux_stand_apart("cowmount-sync")
    let isDone = root.link.withPlatformString { link in
      truncate(link, size) == 0 && utimensat(AT_FDCWD, link, times, 0) == 0
    }
    _exit(isDone ? 0 : errno)
  }

  // MARK: What the server asks for

  /// Hands out a file, or the error.
  func answer(_ id: UInt64, _ make: () throws(Errno) -> File) {
    do throws(Errno) {
      let file = try make()
      process?.send(.answer(id: id, error: 0), passing: file.descriptor)
    } catch {
      process?.send(.answer(id: id, error: error.rawValue))
    }
  }

  /// Uses the mount's file, as a user of the mount would, in a process of its own: the call may take as long as it likes.
  ///
  /// - Parameter call: what is done to its descriptor; false where errno says why not.
  func useFile(_ id: UInt64, _ access: CInt, _ call: (CInt) -> Bool) {
    reapUsers()
    guard users.count < mostUsers else {
      process?.send(.answer(id: id, error: EAGAIN))
      return
    }
    let child = fork()
    switch child {
    case -1: process?.send(.answer(id: id, error: errno))
    case 0:
      clinux_stand_apart("cowmount-sync")
      var error = ENOENT
      let file = openFile(access)
      switch file {
      case .some(let file): error = call(file.descriptor) ? 0 : errno
      case .none: break
      }
      process?.socket.send(KeeperMessage.answer(id: id, error: error).wire)
      _exit(0)
    default: users[child] = id
    }
  }

  /// Each worker asks for one at a time; one whose asker has given up meanwhile may still be at it.
  private var mostUsers: Int { 4 * max(mount.threads ?? 0, MountServer.mostThreads) }

  /// The mount's file, nil where it cannot be found or opened.
  private func openFile(_ access: CInt) -> File? {
    guard let standing, let root = mountpoint.root(of: standing) else {
      return nil
    }
    let flags = access | O_CLOEXEC | O_NONBLOCK
    let file =
      mountpoint.isDirectory
      ? try? File.open(FilePath(bytes: fileName), in: root.descriptor, flags | O_NOFOLLOW)
      : try? File.open(root.link, in: AT_FDCWD, flags)
    guard let file, (try? file.mountID()) == standing.id else { return nil }
    return file
  }

  func reapUsers() {
    for (child, id) in users {
      var status: CInt = 0
      guard waitpid(child, &status, WNOHANG) != 0 else { continue }
      users[child] = nil
      // One that was killed has not answered.
      if status != 0 { process?.send(.answer(id: id, error: EINTR)) }
    }
  }
}
