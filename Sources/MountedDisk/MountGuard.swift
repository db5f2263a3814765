// Who takes the mount down: a process of its own, which does nothing else. Detaching may hang as long as the image does,
// because the kernel first has the mount's server take what was written; the keeper must hear signals meanwhile. And where
// the keeper itself is killed, somebody with rights is left to clear away the mount that nobody serves any more, and the
// directory where that was made for the mount.

internal import CLinux
internal import DiskIO
internal import FuseSession
internal import Glibc
internal import SystemPackage

/// The process that takes a mount down, as the keeper has it.
final class MountGuard {
  let id: pid_t
  private let socket: MessageSocket

  private init(id: pid_t, socket: MessageSocket) {
    self.id = id
    self.socket = socket
  }

  private enum Order: UInt8 {
    case protect = 1
    case detach, leave
  }

  /// Starts it, before anything is mounted.
  static func start(at mountpoint: Mountpoint) throws(Errno) -> MountGuard {
    let (mine, its) = try MessageSocket.pair()
    // What stops a whole service reaches all its processes at once; this one must outlive that to do what it is for.
    var all = sigset_t()
    var before = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before)
    let id = fork()
    let error = Errno.current
    if id != 0 { pthread_sigmask(SIG_SETMASK, &before, nil) }
    guard id != -1 else { throw error }
    guard id == 0 else { return MountGuard(id: id, socket: mine) }
    clinux_stand_apart("cowmount-guard")
    let kept = (mountpoint.descriptors + [its.descriptor]).sorted()
    clinux_close_others(kept, CInt(kept.count))
    leadStandardDescriptorsNowhere()
    chdir("/")
    let status = stand(its, mountpoint)
    mountpoint.removeIfPrivate()
    _exit(status)
  }

  /// Tells it which mount is ours.
  func protect(_ mount: StandingMount) {
    socket.send(Wire(Order.protect.rawValue, [mount.id], text: Array(mount.device.utf8)))
  }

  /// Has it detach the mount; it ends when that is done.
  func detach() { socket.send(Wire(Order.detach.rawValue)) }

  /// Has it end, and waits for that: the mount is gone, and what stands at its place is somebody else's.
  func dismiss() {
    socket.send(Wire(Order.leave.rawValue))
    while waitpid(id, nil, 0) == -1, errno == EINTR {}
  }

  /// How it ended; nil while it has not.
  func end() -> End? {
    var status: CInt = 0
    switch waitpid(id, &status, WNOHANG) {
    case 0: return nil
    case id where status & 0x7f == 0: return Outcome(rawValue: (status >> 8) & 0xff).map(End.done) ?? .killed
    // -1 where it was asked for before.
    default: return .killed
    }
  }

  /// How it ended.
  enum End: Equatable {
    /// It did what it was told to.
    case done(Outcome)
    /// It did not.
    case killed
  }

  /// What became of the mount, by the status that it ended with.
  enum Outcome: CInt {
    case gone = 0
    case covered = 2
    case refused

    init(_ detachment: Detachment) {
      self =
        switch detachment {
        case .gone: .gone
        case .covered: .covered
        case .refused: .refused
        }
    }
  }

  // MARK: The process

  private static func stand(_ socket: MessageSocket, _ mountpoint: Mountpoint) -> CInt {
    var mount: StandingMount?
    while true {
      switch socket.receive() {
      case .message(let wire, _):
        switch Order(rawValue: wire.kind) {
        case .protect: mount = StandingMount(id: wire.number(0), device: wire.string)
        case .detach: return detach(mount, mountpoint).rawValue
        case .leave: return 0
        case nil: break
        }
      case .nonsense: break
      case .end:
        // The keeper was killed, perhaps before it told; then a mount of ours that nobody serves is the one. One that is
        // served is another's.
        return detach(mount ?? mountpoint.findMount(isDead: true), mountpoint).rawValue
      }
    }
  }

  private static func detach(_ mount: StandingMount?, _ mountpoint: Mountpoint) -> Outcome {
    mount.map { Outcome(mountpoint.detach($0)) } ?? .gone
  }
}
