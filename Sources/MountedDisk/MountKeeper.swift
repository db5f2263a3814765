// The keeper of a mount: from the options to the end, with the caller's rights.

internal import CLinux
internal import DiskIO
internal import FuseSession
internal import Glibc
internal import Logging
internal import SystemPackage
internal import VirtualDisks

/// The keeper of a mount.
final class MountKeeper: Keeper {
  let mount: MountSettings
  let mountpoint: Mountpoint
  let overlay: Overlay
  private let session: FuseSession
  var guardian: MountGuard
  let listener: any MountListener
  var standing: StandingMount?
  /// What the file is called in the mount; as the server says.
  var fileName: [UInt8] = []
  /// What the server said at its end; nil where it said nothing.
  var over: End?
  /// Whether the server of the image has ended.
  private var isImageGone = false
  /// Processes that use the mount's file for the server, and the questions that they answer.
  var users: [pid_t: UInt64] = [:]

  enum End {
    case unmounted, failed
  }

  /// - Parameters:
  ///   - source: gives the image, opened.
  ///   - listener: who hears of the mount.
  ///   - signals: signals to hear besides those that every keeper does.
  init(
    _ settings: MountSettings, at mountpoint: Mountpoint, source: () throws -> HeldSource,
    for listener: any MountListener,
    signals: [CInt] = []
  ) throws {
    mount = settings
    self.mountpoint = mountpoint
    self.listener = listener
    if settings.name != nil, !mountpoint.isDirectory {
      throw MountFailure("--name has no meaning where the mountpoint is a file: the file keeps its name", isUsage: true)
    }
    overlay = try Overlay(settings.overlay, avoiding: mountpoint)
    let source = try source()
    session = try FuseSession(
      options: settings.fuseOptions(source.name(settings.source)), place: mountpoint.path,
      isReadOnly: settings.isReadOnly)
    // Before signals are blocked and threads could be.
    guardian = try MountGuard.start(at: mountpoint)
    try super.init(settings.source, source, signals: signals)
    if let path = settings.copies.onReadWhile {
      events.copyCondition = try CopyCondition(path, avoiding: mountpoint)
    }
  }

  // MARK: Beginning

  /// Mounts and serves.
  ///
  /// - Parameter starter: a descriptor by which somebody waits until the mount can be used; -1 for nobody.
  func run(starter: CInt = -1) throws {
    events.starter = starter
    do {
      try begin()
    } catch {
      close()
      if standing != nil { _ = detachAndWait() } else { guardian.dismiss() }
      throw error
    }
    events.starter = -1
    let isWanted: Bool
    do {
      isWanted = try listener.begin(with: file)
    } catch {
      try? end()
      throw error
    }
    try serve(isWanted: isWanted)
  }

  /// Where the exposed file is.
  private var file: FilePath {
    mountpoint.isDirectory ? mountpoint.path.appending(FilePath(bytes: fileName).components) : mountpoint.path
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
      // A name that leads elsewhere would be followed there.
      guard case .mountable(let name) = message, FilePath.isFileName(name) else { return false }
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

  override func giveUp() {
    super.giveUp()
    guardian.dismiss()
  }

  // MARK: Serving

  private func serve(isWanted: Bool) throws {
    if guardian.end() != nil { renewGuard() }
    if !isWanted { return try end() }
    while true {
      switch events.next() {
      case .signal(Events.report): process?.send(.report)
      case .signal(let signal) where listener.takes(signal, ofTerminal: events.isSignalOfTerminal): break
      case .signal(let signal):
        logger.info("ending on signal \(signal)")
        return try end()
      case .children:
        reapUsers()
        if let end = processEnd() { return try serverEnded(end) }
        if guardian.end() != nil {
          logger.error("the process that takes the mount down was killed; the mount ends")
          return try end()
        }
        if !listener.wantsMount { return try end() }
      case let event: take(event)
      }
    }
  }

  override func take(_ message: ServerMessage) {
    switch message {
    case .over(let hasFailed): over = hasFailed ? .failed : .unmounted
    case .writeBack(let id, let start, let count):
      // The answer goes out before the file is closed, which the process does by ending: closing waits for the file's lock,
      // and the seek that asked holds that until it has its answer.
      useFile(id, O_RDONLY) { clinux_write_back_range($0, Int64(clamping: start), Int64(clamping: count)) == 0 }
    case .forget(let id, let count, let size):
      // Punching a hole has the kernel drop what it holds of the file without another word, and truncating tells it the size.
      useFile(id, O_RDWR) { file in
        let drop = clinux_falloc_punch_hole | clinux_falloc_keep_size
        return (count == 0 || clinux_fallocate(file, drop, 0, Int64(clamping: count)) == 0)
          && ftruncate(file, off_t(clamping: size)) == 0
      }
    case .newScratch(let id): answer(id) { () throws(Errno) in try overlay.another() }
    default: super.take(message)
    }
  }

  override func take(_ event: Event) {
    super.take(event)
    guard case .imageServer = event, !isImageGone, case .started(let server) = source, let end = server.end else {
      return
    }
    isImageGone = true
    // Before, it is the reason why there is no mount.
    if standing != nil { logger.warning("\(end): what it served cannot be read any more") }
    process?.send(.imageIsGone)
  }
}
