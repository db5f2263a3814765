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

  // MARK: Write-back

  /// Has the kernel write back a part of the file, by a process of its own, because that may take as long as it likes.
  func writeBack(_ id: UInt64, _ start: UInt64, _ count: UInt64) {
    reapWriters()
    guard writers.count < mostWriters else {
      process?.send(.wroteBack(id: id, isDone: false))
      return
    }
    let child = fork()
    switch child {
    case -1: process?.send(.wroteBack(id: id, isDone: false))
    case 0:
      clinux_stand_apart("cowmount-sync")
      // The answer goes out before the file is closed, which this process does by ending: closing waits for the file's lock,
      // and the seek that asked holds that until it has its answer.
      let isDone = hasWrittenBack(start, count)
      process?.socket.send(KeeperMessage.wroteBack(id: id, isDone: isDone).wire)
      _exit(0)
    default: writers.insert(child)
    }
  }

  /// Each worker asks for one at a time; one whose asker has given up meanwhile may still be at it.
  private var mostWriters: Int { 4 * max(mount.threads ?? 0, MountServer.mostThreads) }

  private func hasWrittenBack(_ start: UInt64, _ count: UInt64) -> Bool {
    guard let standing, let root = mountpoint.root(of: standing), let start = Int64(exactly: start),
      let count = Int64(exactly: count)
    else { return false }
    let flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
    let file =
      mountpoint.isDirectory
      ? try? File.open(FilePath(bytes: fileName), in: root.descriptor, flags)
      : try? File.open(root.link, in: AT_FDCWD, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard let file, (try? file.mountID()) == standing.id else { return false }
    return clinux_write_back_range(file.descriptor, start, count) == 0
  }

  func reapWriters() {
    writers = writers.filter { waitpid($0, nil, WNOHANG) == 0 }
  }
}
