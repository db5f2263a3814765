// A mount, from the options to its end, as the keeper sees it.

internal import CLinux
internal import DiskIO
internal import FuseSession
internal import Glibc
internal import Logging
internal import SystemPackage
internal import Threads
internal import VirtualDisks

/// A mounted disk.
public enum MountedDisk {
  /// Mounts, and serves until the end. In the background form the calling process ends as soon as the mount can be used; in
  /// the other one this returns when the mount has ended.
  ///
  /// - Throws: why it could not be mounted; ``MountEndedBadly``.
  public static func run(_ settings: MountSettings) throws {
    // Descriptors that the caller left open: a mount never keeps another program's lock or pipe.
    clinux_close_from(3)
    // A reader of our messages who went away must not take the mount with it.
    signal(SIGPIPE, SIG_IGN)
    // Neither must a limit on the size of files: who writes beyond it is told so (EFBIG).
    signal(SIGXFSZ, SIG_IGN)
    raiseFileSizeLimit()
    if settings.staysInForeground {
      Log.start(toSystem: false, verbose: settings.isVerbose)
      try MountKeeper(settings).run(starter: -1) { true }
    } else {
      let background = try Background.enter()
      Log.start(toSystem: true, verbose: settings.isVerbose)
      try MountKeeper(settings).run(starter: background.descriptor) { background.ready() }
    }
  }
}

extension MountedDisk {
  /// As far as the caller may raise it: what the caller meant for its own files is not meant for the overlay.
  private static func raiseFileSizeLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
  }
}

/// The keeper of a mount.
final class MountKeeper: Keeper {
  private let mount: MountSettings
  private let mountpoint: Mountpoint
  private let overlay: Overlay
  private let session: FuseSession
  private var guardian: MountGuard
  private var standing: StandingMount?
  /// What the file is called in the mount; as the server says.
  private var fileName: [UInt8] = []
  /// What the server said at its end; nil where it said nothing.
  private var over: End?
  /// Whether the server of the image has ended.
  private var isImageGone = false
  /// Processes that ask the kernel for write-back.
  private var writers: Set<pid_t> = []

  private enum End {
    case unmounted, failed
  }

  init(_ settings: MountSettings) throws {
    mount = settings
    mountpoint = try Mountpoint(
      settings.mountpoint, allowNonEmpty: settings.allowsNonEmpty, deadType: "fuse.cowmount")
    if mountpoint.clearedDeadMount {
      Console.complain("cleared the dead mount that a killed cowmount had left at \(mountpoint.path)")
    }
    if settings.name != nil, !mountpoint.isDirectory {
      throw MountFailure("--name has no meaning where the mountpoint is a file: the file keeps its name", isUsage: true)
    }
    overlay = try Overlay(settings.overlay, avoiding: mountpoint)
    let source = try HeldSource(settings.source)
    session = try FuseSession(
      options: settings.fuseOptions(source.name(settings.source)), place: mountpoint.path,
      isReadOnly: settings.isReadOnly)
    // Before signals are blocked and threads could be.
    guardian = try MountGuard.start(at: mountpoint)
    try super.init(settings.source, source)
    if let path = settings.copies.onReadWhile {
      events.copyCondition = try CopyCondition(path, avoiding: mountpoint)
    }
  }

  // MARK: Beginning

  /// Mounts and serves.
  ///
  /// - Parameters:
  ///   - starter: a descriptor by which somebody waits until the mount can be used; -1 for nobody.
  ///   - ready: called when it can; says whether it is still wanted.
  func run(starter: CInt, ready: () -> Bool) throws {
    events.starter = starter
    do {
      try begin()
    } catch {
      close()
      if standing != nil { _ = detachAndWait() } else { guardian.dismiss() }
      throw error
    }
    events.starter = -1
    try serve(isWanted: ready())
  }

  private func begin() throws {
    try startServingProcess()
    if case .started(let server) = source {
      // Before anybody reads through it.
      if settings.format == nil { try server.checkFiles() }
      server.tell { [logger] in logger.warning("\($0)") }
    }
    let device = try session.mount(at: mountpoint)
    standing = mountpoint.findMount()
    guard let standing else { throw FuseError.displaced(mountpoint.path) }
    guardian.protect(standing)
    standing.raiseLimits()
    try hand(over: device)
    try waitUntilServing(standing)
  }

  /// Gives the FUSE device to the server, which alone has it from then on: when it ends, the kernel ends the mount's
  /// requests.
  private func hand(over device: consuming File) throws {
    guard let process else { throw MountFailure("the process that reads \(sourceName) is gone") }
    process.send(.device, passing: device.descriptor)
  }

  private func startServingProcess() throws {
    let scratch = try overlay.scratch()
    let decompressed = mount.source.decompresses ? try overlay.scratch() : nil
    let decompressedDescriptor: CInt? =
      switch decompressed {
      case .some(let file): file.descriptor
      case .none: nil
      }
    let isInMemory = if case .memory = overlay { true } else { false }
    let scratchDescriptor = scratch.descriptor
    let mounter = Owner.Caller.current
    let limit = mount.maxOverlay ?? (isInMemory ? Overlay.defaultMemory : nil)
    let processors = sysconf(CInt(_SC_NPROCESSORS_ONLN))
    let kept = [scratchDescriptor] + (decompressedDescriptor.map { [$0] } ?? [])
    try start(keeping: kept, standard: false) { source, link in
      let server = MountServer(
        settings: mount, source: source, overlay: overlay, mountpoint: mountpoint, session: session,
        copyCondition: events.copyCondition, scratch: scratchDescriptor, decompressed: decompressedDescriptor,
        mounter: mounter, limit: limit, processors: processors)
      return server.run(link)
    } until: { message in
      guard case .mountable(let name) = message else { return false }
      fileName = name
      return true
    }
  }

  private func waitUntilServing(_ standing: StandingMount) throws {
    var corrector: pid_t?
    while true {
      switch events.next() {
      case .message(.serving(let size, let modified)):
        if mountpoint.isDirectory || mount.isReadOnly { return }
        if corrector == nil { corrector = try correctFile(standing, size: size, modified: modified) }
      case .message(.failed(let text, let isUsage, _)): throw MountFailure(text, isUsage: isUsage)
      case .message(let message): take(message)
      case .signal(let signal) where Events.endings.contains(signal): throw MountFailure("interrupted")
      case .abandoned: throw MountFailure("interrupted")
      case .children:
        if let end = processEnd() { throw MountFailure("the process that serves \(sourceName) \(end)") }
        var status: CInt = 0
        guard let id = corrector, waitpid(id, &status, WNOHANG) == id else { continue }
        if status != 0 { throw FuseError.uncorrected(mountpoint.path, Errno(rawValue: (status >> 8) & 0xff)) }
        return
      case let event: take(event)
      }
    }
  }

  /// The kernel makes up the root's attributes before it knows anybody to ask. With the writeback cache it then trusts its
  /// own size and times of a regular file, and would show an empty one: so they are set, as a user would set them, and the
  /// server answers that. (A mount that cannot be written to has no such cache.)
  ///
  /// - Returns: a process that does it, since the answer may never come. It ends with the error, or 0.
  private func correctFile(_ standing: StandingMount, size: UInt64, modified: Timestamp) throws -> pid_t {
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

  // MARK: Serving

  private func serve(isWanted: Bool) throws {
    if guardian.end() != nil { renewGuard() }
    if !isWanted { return try end() }
    while true {
      switch events.next() {
      case .signal(Events.report): process?.send(.report)
      case .signal(let signal):
        logger.info("ending on signal \(signal)")
        return try end()
      case .children:
        reapWriters()
        if let end = processEnd() { return try serverEnded(end) }
        if guardian.end() != nil {
          logger.error("the process that takes the mount down was killed; the mount ends")
          return try end()
        }
      case let event: take(event)
      }
    }
  }

  override func take(_ message: ServerMessage) {
    switch message {
    case .over(let hasFailed): over = hasFailed ? .failed : .unmounted
    case .writeBack(let id, let start, let count): writeBack(id, start, count)
    default: super.take(message)
    }
  }

  override func take(_ event: Event) {
    super.take(event)
    guard case .imageServer = event, !isImageGone, case .started(let server) = source, let end = server.end else {
      return
    }
    isImageGone = true
    logger.warning("\(end): what it served cannot be read any more")
    process?.send(.imageIsGone)
  }

  // MARK: Ending

  /// The server ended by itself.
  private func serverEnded(_ end: String) throws {
    switch over {
    case .unmounted:
      // What stands at that place now is not ours.
      guardian.dismiss()
      logger.info("unmounted")
    case .failed:
      logger.error("the kernel's FUSE device failed; the mount ends")
      _ = detachAndWait()
      throw MountEndedBadly()
    case nil:
      logger.error("the process that serves the mount \(end); the mount ends")
      _ = detachAndWait()
      throw MountEndedBadly()
    }
  }

  /// Takes the mount down while it is served, because the kernel then writes back what it has cached, and ends the server.
  /// A further signal does not wait for what is under way.
  private func end() throws {
    process?.send(.prepareToEnd)
    let isGone = detachAndWait()
    // One that does not listen will not end by itself.
    if let process, !process.send(.stop) { Glibc.kill(process.id, SIGKILL) }
    while process != nil {
      switch events.next() {
      case .signal(let signal) where Events.endings.contains(signal): abandon()
      case .children: _ = processEnd()
      case let event: take(event)
      }
    }
    if !isGone { throw MountEndedBadly() }
  }

  /// - Returns: whether the mount is gone.
  private func detachAndWait() -> Bool {
    guard let standing else { return true }
    guardian.detach()
    while true {
      // Before waiting: it may have been killed long ago.
      switch guardian.end() {
      case .done(let outcome): return tell(outcome, standing)
      case .killed where renewGuard(): guardian.detach()
      // Nothing is left to wait with.
      case .killed: return tell(MountGuard.Outcome(mountpoint.detach(standing)), standing)
      case nil:
        switch events.next() {
        case .signal(let signal) where Events.endings.contains(signal): abandon()
        case .children: _ = processEnd()
        case let event: take(event)
        }
      }
    }
  }

  /// Starts another guard in place of one that was killed.
  ///
  /// - Returns: whether that worked.
  @discardableResult
  private func renewGuard() -> Bool {
    guard let another = try? MountGuard.start(at: mountpoint) else { return false }
    guardian = another
    if let standing { guardian.protect(standing) }
    return true
  }

  private func tell(_ outcome: MountGuard.Outcome, _ standing: StandingMount) -> Bool {
    let path = (try? MountTable().entry(id: standing.id))?.mountpoint ?? mountpoint.path
    switch outcome {
    case .gone: return true
    case .covered:
      logger.error(
        "the mount at \(path) cannot be detached, because something else is mounted over it: unmount that, then umount \(path)"
      )
    case .refused: logger.error("the mount at \(path) cannot be detached: umount \(path)")
    }
    return false
  }

  /// Ends now. Whoever waits for this process should find the mount gone; it has nothing to wait for any more, but not for
  /// ever.
  private func abandon() -> Never {
    process?.send(.abandon)
    let deadline = Moment.now + .seconds(1)
    var isServed = process != nil
    var isGuarded = guardian.end() == nil
    while isServed || isGuarded, deadline > .now {
      _ = events.next(by: min(deadline, .now + .milliseconds(20)))
      isServed = isServed && processEnd() == nil
      isGuarded = isGuarded && guardian.end() == nil
    }
    _exit(0)
  }

  // MARK: Write-back

  /// Has the kernel write back a part of the file, by a process of its own, because that may take as long as it likes.
  private func writeBack(_ id: UInt64, _ start: UInt64, _ count: UInt64) {
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
      let count = Int64(exactly: count), !fileName.contains(UInt8(ascii: "/"))
    else { return false }
    let flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
    let file =
      mountpoint.isDirectory
      ? try? File.open(FilePath(bytes: fileName), in: root.descriptor, flags)
      : try? File.open(root.link, in: AT_FDCWD, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard let file, (try? file.mountID()) == standing.id else { return false }
    return clinux_write_back_range(file.descriptor, start, count) == 0
  }

  private func reapWriters() {
    writers = writers.filter { waitpid($0, nil, WNOHANG) == 0 }
  }
}
