// What the keeper waits for, all at once and on one thread.

internal import CLinux
internal import DiskIO
internal import Glibc
internal import SystemPackage
internal import Threads
internal import VirtualDisks

/// Something that happened.
enum Event {
  /// The process without rights says something.
  case message(ServerMessage)
  /// A signal came, other than SIGCHLD.
  case signal(CInt)
  /// Children may have ended.
  case children
  /// The server of the image said something, or ended.
  case imageServer
  /// Something happened where --cow-on-read-while looks.
  case copyCondition
  /// The one who waits for the mount to be ready has given up.
  case abandoned
  /// The time is over.
  case timeout
}

/// Where events come from.
final class Events {
  private let signals: File

  var process: ConfinedProcess?
  var imageServer: StartedServer?
  var copyCondition: CopyCondition?
  /// The descriptor by which the starter waits; -1 where nobody does.
  var starter: CInt = -1

  /// Whether SIGCHLD came and was not told.
  private var areChildrenDue = false
  /// Messages that were taken in a row.
  private var said = 0
  /// More than a process can have sent before it ended: whoever says more goes on talking, and others come first for once.
  private static let mostInARow = 4096

  /// Whether the last signal was the kernel's own, which goes to all processes in the foreground of a terminal.
  private(set) var isSignalOfTerminal = false

  /// Signals that end a mount.
  static let endings = [SIGINT, SIGTERM, SIGHUP]
  /// The signal that asks how things are.
  static let report = SIGUSR1

  /// From here on the process, and those that it forks, have these signals blocked.
  ///
  /// - Parameter others: signals to tell of besides those that every mount hears.
  init(_ others: [CInt]) throws(Errno) {
    let watched = Self.endings + [Self.report, SIGCHLD] + others
    let descriptor = clinux_signals(watched, watched.count)
    guard descriptor != -1 else { throw .current }
    signals = File(adopting: descriptor)
  }

  /// Has a signal do what it does to a process that does not care.
  func surrender(to signal: CInt) -> Never {
    Glibc.signal(signal, SIG_DFL)
    var set = sigset_t()
    sigemptyset(&set)
    sigaddset(&set, signal)
    kill(getpid(), signal)
    sigprocmask(SIG_UNBLOCK, &set, nil)
    _exit(128 + signal)
  }

  /// Waits for the next event.
  ///
  /// - Parameter deadline: when to stop waiting; nil for never.
  func next(by deadline: Moment? = nil) -> Event {
    while true {
      var waits = [pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0)]
      waits.append(pollfd(fd: process?.socket.descriptor ?? -1, events: Int16(POLLIN), revents: 0))
      waits.append(pollfd(fd: copyCondition?.descriptor ?? -1, events: Int16(POLLIN), revents: 0))
      waits.append(pollfd(fd: starter, events: 0, revents: 0))
      waits += (imageServer?.descriptors ?? []).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      let count = poll(&waits, nfds_t(waits.count), areChildrenDue ? 0 : deadline?.milliseconds ?? -1)
      if count == 0, !areChildrenDue { return .timeout }
      guard count >= 0 else { continue }
      if waits[0].revents != 0 {
        var isKernels: CInt = 0
        switch clinux_take_signal(signals.descriptor, &isKernels) {
        case 0: break
        case SIGCHLD:
          areChildrenDue = true
          said = 0
        case let signal:
          isSignalOfTerminal = isKernels != 0
          return .signal(signal)
        }
      }
      // What a process said before it ended is heard before its end.
      if waits[1].revents != 0, said < Self.mostInARow {
        said += 1
        if let message = takeMessage() { return .message(message) }
        continue
      }
      said = 0
      if areChildrenDue {
        areChildrenDue = false
        return .children
      }
      if waits[2].revents != 0 { return .copyCondition }
      if waits[3].revents & Int16(POLLERR | POLLHUP) != 0 { return .abandoned }
      if waits[4...].contains(where: { $0.revents != 0 }) { return .imageServer }
    }
  }

  /// The next message, nil where it is none. A process that does not keep to the language is not listened to any more.
  private func takeMessage() -> ServerMessage? {
    guard let process else { return nil }
    switch process.socket.receive() {
    case .message(let wire, _): return ServerMessage(wire)
    case .nonsense: return nil
    case .end:
      self.process = nil
      return nil
    }
  }
}
