// Taking a mount down and waiting until nothing of it is left. What uses it is named, and loses nothing.

internal import CLinux
internal import DiskIO
internal import FuseSession
internal import Glibc
public import SystemPackage
internal import Threads

/// A mount that could not be taken down.
public enum UnmountError: Error, Equatable, CustomStringConvertible {
  /// There is none.
  case unusable(ControlError)
  /// It is in use.
  case busy(FilePath, [MountUser])
  /// The system refused.
  case refused(FilePath, Errno)
  /// The mount is gone, and its process is not.
  case lingering(FilePath, Int32)

  /// One line that names the mount and the way out.
  public var description: String {
    switch self {
    case .unusable(let error): error.description
    case .busy(let path, let users) where users.isEmpty:
      "\(path) is in use by somebody whom this user cannot see; ask as root, or end what uses it (umount -l detaches it)"
    case .busy(let path, let users):
      "\(path) is in use by \(users.map(\.words).joined(separator: ", ")); end or unmount that first"
    case .refused(let path, .notPermitted), .refused(let path, .permissionDenied):
      "\(path) may not be unmounted by this user; do it as the user who mounted it, or as root"
    case .refused(let path, let error): "\(path) cannot be unmounted: \(error)"
    case .lingering(let path, let process):
      "\(path) is unmounted, but process \(process) has not ended yet; see what it waits for in its log"
    }
  }
}

/// Taking a mount down.
public final class Unmount {
  private let entry: MountTableEntry
  /// The directory that has the mountpoint, and its name there: what stands there is found once more by these, and never by
  /// the path.
  private let parent: File
  private let name: FilePath
  /// The process that has the mount.
  private let process: (id: pid_t, handle: CInt)?

  /// How long somebody who is about to close a file has for it, and the process for its end.
  private static let grace = Duration.seconds(2)
  private static let patience = Duration.seconds(30)

  /// Takes the mount at a path down, and waits until its process is gone. Loop devices over it that nothing uses are detached.
  ///
  /// Single-threaded callers only: it forks.
  ///
  /// - Parameter path: the mountpoint, or the exposed file.
  public static func run(_ path: FilePath) throws(UnmountError) {
    let unmount = try Unmount(path)
    try unmount.vacate()
    try unmount.take()
    try unmount.wait()
  }

  private convenience init(_ path: FilePath) throws(UnmountError) {
    do throws(ControlError) {
      let place = try Self.mountpoint(at: path)
      let parent = try Self.again(place.walk.parent, path)
      self.init(place.entry, parent: parent, name: place.walk.name)
    } catch {
      throw .unusable(error)
    }
  }

  private init(_ entry: MountTableEntry, parent: consuming File, name: FilePath) {
    self.entry = entry
    self.parent = parent
    self.name = name
    process = Self.process(of: entry)
  }

  private static func mountpoint(at path: FilePath) throws(ControlError) -> MountPlace {
    let place = try MountPlace(path)
    guard (try? place.walk.parent.mountID()) == place.entry.id else { return place }
    // The file in the directory: what is unmounted is what it is on.
    return try MountPlace(place.entry.mountpoint)
  }

  private static func again(_ file: borrowing File, _ path: FilePath) throws(ControlError) -> File {
    let descriptor = fcntl(file.descriptor, F_DUPFD_CLOEXEC, 0)
    guard descriptor != -1 else { throw .unusable(path, .current) }
    return File(adopting: descriptor)
  }

  deinit { if let process { close(process.handle) } }

  /// The process, where the mount tells it and it can be one: who has taken over a server might name any.
  private static func process(of entry: MountTableEntry) -> (id: pid_t, handle: CInt)? {
    guard let ask = try? GuardedAsk(entry.mountpoint, device: entry.device),
      case .success(let status) = ask.answer(by: .now + MountSurvey.patience), let id = pid_t(exactly: status.process),
      id > 1
    else { return nil }
    let handle = clinux_process(id)
    guard handle != -1 else { return nil }
    guard isKeeper(id) else {
      close(handle)
      return nil
    }
    return (id, handle)
  }

  /// Whether it has a process that serves a mount.
  private static func isKeeper(_ id: pid_t) -> Bool {
    let children = (try? File.readText(FilePath("/proc/\(id)/task/\(id)/children"))) ?? ""
    return children.split(separator: " ").compactMap { pid_t($0) }.contains { processName($0) == "cowmount-serve" }
  }

  // MARK: Users

  /// Detaches loop devices that nothing uses, unless something else is in the way that will stay.
  private func vacate() throws(UnmountError) {
    let end = Moment.now + Self.grace
    while true {
      let look = MountUsers(of: [entry.device], besides: [])
      var inTheWay: [MountUser] = []
      var idle: [LoopDevice] = []
      for user in look.of(entry.device, isAlive: process != nil) {
        guard case .loop(let loop, let mountpoints) = user, mountpoints.isEmpty, loop.holders.isEmpty else {
          inTheWay.append(user)
          continue
        }
        let openers = look.of(loop)
        if openers.isEmpty { idle.append(loop) } else { inTheWay += [user] + openers }
      }
      if inTheWay.isEmpty {
        let left = idle.filter { !$0.detach() }
        if left.isEmpty, Self.areGone(idle, by: end) { return }
        inTheWay = (left.isEmpty ? idle.filter(\.isAttached) : left).map { .loop($0, mountpoints: []) }
      }
      guard end > .now else { throw .busy(entry.mountpoint, inTheWay) }
      usleep(50_000)
    }
  }

  /// Whether loop devices are detached: those that look at every device may have them open for a moment.
  private static func areGone(_ loops: [LoopDevice], by end: Moment) -> Bool {
    while loops.contains(where: \.isAttached) {
      guard end > .now else { return false }
      usleep(10_000)
    }
    return true
  }

  // MARK: The mount

  private var isMounted: Bool { (try? MountTable().entry(id: entry.id))?.device == entry.device }

  private func take() throws(UnmountError) {
    let end = Moment.now + Self.grace
    while true {
      let error = geteuid() == 0 ? detach() : detachAsUser()
      guard isMounted, let error else { return }
      guard error == .resourceBusy else { throw .refused(entry.mountpoint, error) }
      guard end > .now else {
        throw .busy(
          entry.mountpoint, MountUsers(of: [entry.device], besides: []).of(entry.device, isAlive: process != nil))
      }
      usleep(50_000)
    }
  }

  /// As root: by the directory that has the mountpoint, whatever becomes of the path to it, and only what was looked at.
  private func detach() -> Errno? {
    guard (try? File.place(name, in: parent.descriptor).mountID()) == entry.id else { return .invalidArgument }
    let here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    defer {
      if here != -1 {
        fchdir(here)
        close(here)
      }
    }
    guard fchdir(parent.descriptor) == 0 else { return .current }
    return name.withPlatformString { umount2($0, CInt(UMOUNT_NOFOLLOW)) } == 0 ? nil : .current
  }

  private func detachAsUser() -> Errno? {
    guard !Fusermount.unmount(entry.mountpoint, isLazy: false) else { return nil }
    guard case .some(let place) = try? File.place(name, in: parent.descriptor) else { return .noSuchFileOrDirectory }
    // It does not say why; who may not unmount it is not its user.
    let isOwn = entry.options.split(separator: ",").contains("user_id=\(getuid())")
    _ = consume place
    return isOwn ? .resourceBusy : .notPermitted
  }

  /// Waits for the end of the process, unless the same mount stands elsewhere.
  private func wait() throws(UnmountError) {
    guard let process, (try? MountTable().entries.contains { $0.device == entry.device }) == false else { return }
    let end = Moment.now + Self.patience
    while true {
      var wait = pollfd(fd: process.handle, events: Int16(POLLIN), revents: 0)
      if poll(&wait, 1, end.milliseconds) > 0 { return }
      guard end > .now else { throw .lingering(entry.mountpoint, process.id) }
    }
  }
}
