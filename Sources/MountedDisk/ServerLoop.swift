// The first thread of the process that serves: hears the keeper, sees to the watch while there is work, and ends.

internal import CopyOnWrite
internal import DiskIO
internal import FuseSession
internal import Glibc
internal import Images
internal import Logging

/// What happens beside serving.
final class ServerLoop {
  private let link: KeeperLink
  private let session: FuseSession
  private let questions: KeeperQuestions
  private let image: any Image
  private let prefetch: Prefetch?
  private let statistics: MountStatistics
  /// How much there is to do. There is a watch only while requests come, so an idle mount uses no time.
  private var pace = Pace.resting

  private enum Pace {
    /// Requests came since ``FuseSession/rest()``.
    case busy
    /// None came since then, for less than ``pause``.
    case quiet
    /// None came for longer than that.
    case resting
  }

  /// Milliseconds from one look of the watch to the next.
  private static let pause: CInt = 5000

  init(
    _ link: KeeperLink, _ session: FuseSession, _ questions: KeeperQuestions, image: any Image, prefetch: Prefetch?,
    disk: CowDisk
  ) {
    self.link = link
    self.session = session
    self.questions = questions
    self.image = image
    self.prefetch = prefetch
    statistics = MountStatistics(image: image, disk: disk)
  }

  /// Runs until the mount is gone or the keeper says so.
  ///
  /// - Returns: the process's exit status.
  func run() -> CInt {
    session.rest()
    while !session.isOver {
      let event = wait(pace == .resting ? -1 : Self.pause)
      switch event {
      case .wake where !session.isOver:
        // Somebody asks for something, for the first time in a while.
        session.watch()
        pace = .busy
      case .wake: break
      case .nothing where pace == .busy:
        session.watch()
        pace = .quiet
        session.rest()
      case .nothing:
        pace = .resting
        session.giveBackMemory()
      case .keeper(.stop): return end(.told)
      case .keeper(.abandon), .keeperIsGone: return abandon()
      case .keeper(let message): take(message)
      }
    }
    return end(session.hasFailed ? .failed : .unmounted)
  }

  private enum Event {
    case wake, nothing, keeperIsGone
    case keeper(KeeperMessage)
  }

  private func wait(_ milliseconds: CInt) -> Event {
    var waits = [
      pollfd(fd: link.socket.descriptor, events: Int16(POLLIN), revents: 0),
      pollfd(fd: session.wakeDescriptor, events: Int16(POLLIN), revents: 0),
    ]
    guard poll(&waits, 2, milliseconds) > 0 else { return .nothing }
    if waits[0].revents != 0 {
      switch link.socket.receive(takesDescriptor: true) {
      case .message(let wire, let passed):
        guard let message = KeeperMessage(wire) else { break }
        // Here, because an event can be copied and a descriptor has one owner.
        if case .answer(let id, let error) = message {
          let descriptor: CInt =
            switch passed {
            case .some(let file): fcntl(file.descriptor, F_DUPFD_CLOEXEC, 3)
            case .none: -1
            }
          questions.take(id, error: error, descriptor: descriptor)
        }
        return .keeper(message)
      case .nonsense: break
      case .end: return .keeperIsGone
      }
    }
    if waits[1].revents != 0 {
      session.takeWake()
      return .wake
    }
    return .nothing
  }

  private func take(_ message: KeeperMessage) {
    switch message {
    case .report: statistics.tell(.notice)
    case .imageIsGone: image.prepareToEnd()
    case .prepareToEnd:
      // Before workers are waited for.
      image.prepareToEnd()
      prefetch?.stop()
    case .answer, .device, .stop, .abandon: break
    }
  }

  private enum End {
    case unmounted, failed, told
  }

  private func end(_ end: End) -> CInt {
    // What stands at the mountpoint from here on is not ours.
    if end != .told { link.send(.over(hasFailed: end == .failed)) }
    image.prepareToEnd()
    prefetch?.stop()
    let isIdle = session.stop {
      switch self.wait(20) {
      case .keeper(.abandon), .keeperIsGone: return false
      case .keeper(let message):
        self.take(message)
        return true
      case .wake, .nothing: return true
      }
    }
    statistics.tell(.info)
    return isIdle ? 0 : abandon()
  }

  private func abandon() -> CInt {
    session.abandon()
    return 0
  }
}
