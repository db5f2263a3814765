// The process that has the caller's rights. It opens what has to be opened, starts the process without rights, which alone
// looks at bytes of the image (ConfinedProcess.swift), mounts, hears signals, and sees to it that nothing stays behind. It has
// one thread, and believes nothing of what the other process says beyond what Messages.swift has.
//
//     cowmount            the keeper: everything of the caller's rights
//     ├ cowmount-guard    takes the mount down (MountGuard.swift)
//     ├ cowmount-serve    reads the image and serves the mount, without any rights
//     └ nbd-minder        where the image needs a server: starts it and ends it (CLinux/Server.c)
//
// What happens when one of them dies: the kernel kills the serving process with the keeper, and the guard clears the mount
// away; without the serving process the keeper has the guard do that; without the guard the keeper starts another one, and
// ends the mount.

internal import CLinux
internal import DiskIO
internal import FuseSession
internal import Glibc
public import Images
internal import Logging
internal import SystemPackage
internal import VirtualDisks

/// What mounts and looks have in common: an image from its opening to the process that reads it.
class Keeper {
  let settings: SourceSettings
  let events: Events
  var source: HeldSource
  private(set) var process: ConfinedProcess?
  private var progress: PassProgress
  let logger = Logger(label: "cowmount")

  /// - Parameter signals: signals to hear besides those that every keeper does.
  init(_ settings: SourceSettings, _ source: HeldSource, signals: [CInt] = []) throws {
    self.settings = settings
    self.source = source
    sourceName = source.name(settings)
    events = try Events(signals)
    progress = PassProgress(name: sourceName.split(separator: "/").last.map(String.init) ?? "")
    if case .started(let server) = source { events.imageServer = server }
  }

  /// What the mount table and messages call the image.
  let sourceName: String

  // MARK: The process without rights

  /// Starts the process that reads the image and does `work`, and where that finds a virtual disk, a server for it and the
  /// process once more.
  ///
  /// - Parameters:
  ///   - kept: descriptors that the work needs besides those of the image.
  ///   - standard: whether it may write to standard output.
  ///   - work: in the process without rights. Gives the exit status.
  ///   - isDone: whether a message means that the image can be used.
  func start(
    keeping kept: [CInt], standard: Bool, work: (HeldSource, KeeperLink) -> CInt, until isDone: (ServerMessage) -> Bool
  ) throws {
    while true {
      let source = source
      let process = try ConfinedProcess.start(
        keeping: kept + source.descriptors, standard: standard, source.confinement, prepare: source.prepare
      ) { work(source, $0) }
      self.process = process
      events.process = process
      guard let format = try hear(until: isDone) else {
        if case .file = source { self.source = .handedOver }
        return
      }
      // It was needed for no more than to say so.
      close()
      try startDiskServer(for: format)
    }
  }

  /// - Returns: the format where the image is a virtual disk; nil where it is done.
  private func hear(until isDone: (ServerMessage) -> Bool) throws -> VirtualDiskFormat? {
    defer { progress.end() }
    var verdict: Verdict?
    func judge(_ message: ServerMessage) throws {
      switch message {
      case .virtualDisk(let format):
        // What the user calls something else is no virtual disk, whatever its reader has come to say.
        guard settings.format == nil || settings.format == .disk(format) else {
          throw MountFailure("the process that reads \(sourceName) takes it for \(format)")
        }
        verdict = .virtualDisk(format)
      case .failed(let text, let isUsage, let serverMayHaveEnded):
        throw reason(serverMayHaveEnded) ?? MountFailure(text, isUsage: isUsage)
      case _ where isDone(message): verdict = .done
      default: take(message)
      }
    }
    while true {
      switch verdict {
      case .virtualDisk(let format): return format
      case .done: return nil
      case nil: break
      }
      switch events.next() {
      case .message(let message): try judge(message)
      case .signal(let signal) where Events.endings.contains(signal):
        progress.end()
        giveUp()
        events.surrender(to: signal)
      case .signal: break
      case .abandoned:
        giveUp()
        _exit(1)
      case .children:
        // What it said before counts, though its end may be noticed first.
        if let status = try processEnd(hearing: judge), verdict == nil {
          throw MountFailure("the process that reads \(sourceName) \(status)")
        }
      case let event: take(event)
      }
    }
  }

  /// What has become of an image.
  private enum Verdict: Equatable {
    case virtualDisk(VirtualDiskFormat)
    case done
  }

  private func reason(_ serverMayHaveEnded: Bool) -> (any Error)? {
    guard serverMayHaveEnded, case .started(let server) = source else { return nil }
    return server.reasonForFailure()
  }

  private func startDiskServer(for format: VirtualDiskFormat) throws {
    guard case .file(let file) = source else { throw MountFailure("\(sourceName): a virtual disk within another") }
    var options = VirtualDiskFormat.Options()
    options.isForced = settings.format != nil
    options.sharesWithWriters = settings.sharesWithWriters
    options.avoidsCache = file.avoidsCache
    let server = try format.start(file, options: options)
    source = .started(server)
    events.imageServer = server
  }

  // MARK: What happens at any time

  /// Takes a message that may come at any time.
  func take(_ message: ServerMessage) {
    switch message {
    case .log(let level, let label, let text): Log.write(level, label, text)
    case .complaint(let text): Console.complain(text)
    case .progress(let progress): self.progress.tell(progress)
    default: break
    }
  }

  /// Takes an event that may come at any time.
  func take(_ event: Event) {
    switch event {
    case .message(let message): take(message)
    case .imageServer: if case .started(let server) = source { server.hear() }
    case .copyCondition: events.copyCondition?.look()
    default: break
    }
  }

  /// How the process without rights ended, in words, where it has: `ended with status 1`, `was killed by signal 9`.
  func processEnd() -> String? { processEnd { take($0) } }

  /// - Parameter hear: takes what it had said before.
  private func processEnd(hearing hear: (ServerMessage) throws -> Void) rethrows -> String? {
    guard let process else { return nil }
    var status: CInt = 0
    guard waitpid(process.id, &status, WNOHANG) == process.id else { return nil }
    self.process = nil
    let socket = events.process?.socket
    events.process = nil
    if let socket { try drain(socket, hear) }
    return status & 0x7f == 0 ? "ended with status \((status >> 8) & 0xff)" : "was killed by signal \(status & 0x7f)"
  }

  /// Takes what a process that ended had said before.
  private func drain(_ socket: MessageSocket, _ hear: (ServerMessage) throws -> Void) rethrows {
    while true {
      var wait = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&wait, 1, 0) == 1 else { return }
      switch socket.receive() {
      case .message(let wire, _): if let message = ServerMessage(wire) { try hear(message) }
      case .nonsense: break
      case .end: return
      }
    }
  }

  /// Leaves nothing behind, before this process ends without having got ready.
  func giveUp() { close() }

  /// Ends the process without rights at once, where there is one.
  func close() {
    process?.kill()
    process = nil
    events.process = nil
  }
}

/// Looking at an image without mounting it.
public enum ImageLook {
  /// Opens an image, and does `work` with it in a process without rights, which may print.
  ///
  /// - Throws: ``MountFailure``, or what the image is unusable for.
  public static func run(_ settings: SourceSettings, work: (any Image) throws -> Void) throws {
    clinux_close_from(3)
    signal(SIGPIPE, SIG_IGN)
    let keeper = try Keeper(settings, HeldSource(settings))
    defer { keeper.close() }
    try keeper.start(keeping: [], standard: true) { source, link in
      looking(link) {
        switch try source.open(settings, link: link) {
        case .image(let image, _):
          try work(image)
          fflush(nil)
          link.send(.over(hasFailed: false))
        case .virtualDisk(let format): link.send(.virtualDisk(format))
        }
      }
    } until: { message in
      if case .over = message { true } else { false }
    }
  }

  private static func looking(_ link: KeeperLink, _ body: () throws -> Void) -> CInt {
    do {
      try body()
      return 0
    } catch let error as StartedServer.Unusable {
      link.send(.failed(text: "\(error.reason)", isUsage: false, serverMayHaveEnded: error.mayHaveEnded))
    } catch {
      link.send(.failed(text: "\(error)", isUsage: false, serverMayHaveEnded: false))
    }
    return 1
  }
}
