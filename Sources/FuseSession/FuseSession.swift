// A mounted file system from its first moment to its last.
//
// The order of things: options are checked and libfuse's session is made; the mount appears; workers start and the kernel
// agrees on the protocol (ready); requests are served. It ends from outside (somebody unmounts: the workers' reads report
// it) or from inside (a signal): the mount is detached while the workers still serve, because the kernel then writes back
// what it has cached, and only then are the workers told to leave. Closing the device ends what is still open with
// ENOTCONN. libfuse's own unmount closes the device first and unmounts by path whatever is there; it is not used.

import CFuse
import CLinux
import DiskIO
import Glibc
import Synchronization
import SystemPackage

/// One mount of one file system. Used by the thread that created it.
public final class FuseSession {
  let session: OpaquePointer
  let state: SessionState
  let mountpoint: Mountpoint
  /// The device number of the mount, as long as it stands.
  var device: String?
  var workers: [Worker] = []
  private(set) var lookout: Lookout?
  /// A signal to end that came while the mount was being made.
  private(set) var early: CInt?

  /// Signals that ``waitForEnd(report:)`` waits for and that end a session.
  static let endings = [SIGINT, SIGTERM, SIGHUP]
  /// The signal that asks a session how things are.
  static let report = SIGUSR1
  /// All that the watcher takes.
  static let watched: sigset_t = {
    var signals = sigset_t()
    sigemptyset(&signals)
    for signal in endings + [report, SessionState.wakeUp] { sigaddset(&signals, signal) }
    return signals
  }()

  /// Prepares a session. Nothing is mounted yet.
  ///
  /// From here on the calling thread, and threads it starts, have SIGINT, SIGTERM, SIGHUP and SIGUSR1 blocked: the session
  /// takes them.
  ///
  /// - Parameters:
  ///   - fileSystem: what answers.
  ///   - mountpoint: where it appears.
  ///   - options: mount options as fuse programs take them with `-o`, one each.
  public init(_ fileSystem: FileSystem, at mountpoint: Mountpoint, options: [String]) throws(FuseError) {
    // Newer libraries take it, and without the capability do nothing.
    if let option = options.first(where: { $0.utf8.starts(with: "io_uring".utf8) }) {
      throw .overUring(option: option)
    }
    try Self.checkDevice()
    Worker.installInterruptHandler()
    Self.blockSignals()
    FuseLog.install()
    state = SessionState(fileSystem: fileSystem, watcher: pthread_self())
    self.mountpoint = mountpoint

    var arguments = fuse_args()
    defer { fuse_opt_free_args(&arguments) }
    fuse_opt_add_arg(&arguments, "cowmount")
    for option in options {
      fuse_opt_add_arg(&arguments, "-o")
      fuse_opt_add_arg(&arguments, option)
    }
    var operations = makeOperations()
    let size = MemoryLayout.size(ofValue: operations)
    let userdata = Unmanaged.passUnretained(state).toOpaque()
    guard let session = cfuse_session_new(&arguments, &operations, size, userdata) else {
      throw .refused(mountpoint.path, FuseLog.take(or: "libfuse does not take the options \(options)"))
    }
    self.session = session
  }

  deinit {
    // Workers that would not leave still use libfuse's session; the process is about to end.
    if stop() { fuse_session_destroy(session) }
  }

  private static func checkDevice() throws(FuseError) {
    let descriptor = open("/dev/fuse", O_RDWR | O_CLOEXEC)
    // fusermount3 opens the device with its own rights.
    if descriptor == -1, geteuid() == 0 || errno == ENOENT { throw .noDevice(.current) }
    if descriptor != -1 { close(descriptor) }
    guard geteuid() != 0 else { return }
    let found = Self.searchPath.contains { access($0 + "/fusermount3", X_OK) == 0 }
    if !found { throw .noFusermount }
  }

  private static var searchPath: [String] {
    let path = getenv("PATH").map { String(cString: $0) } ?? ""
    return path.split(separator: ":").map(String.init) + ["/usr/bin", "/bin"]
  }

  private static func blockSignals() {
    var signals = watched
    // Only waited for while the mount is detached.
    sigaddset(&signals, SIGCHLD)
    pthread_sigmask(SIG_BLOCK, &signals, nil)
  }

  // MARK: Beginning

  /// Mounts, starts `threads` workers, and waits until the kernel has agreed: when this returns, the mount answers.
  ///
  /// - Parameters:
  ///   - threads: how many serve.
  ///   - eachThread: what each thread that is started does before anything else.
  ///   - lookRound: called every few seconds while requests come, and once after the last of them. It may take as long as
  ///     it likes, or never return.
  public func start(
    threads: Int, eachThread: @escaping @Sendable () -> Void, lookRound: sending @escaping () -> Void
  ) throws(FuseError) {
    // fusermount3 writes what it has to say to standard error itself.
    let result = FuseLog.capturingStandardError { fuse_session_mount(session, mountpoint.path.string) }
    guard result == 0 else { throw .refused(mountpoint.path, FuseLog.take(or: "the kernel refused")) }
    device = mountpoint.device()
    if let device { BackingDevice(device: device).raiseLimits() }
    do { lookout = try Lookout(first: eachThread, look: lookRound) } catch { throw .noThreads(error) }
    for _ in 0..<threads {
      do {
        workers.append(try Worker(serving: session, state: state, first: eachThread))
      } catch {
        // A few are enough; none is not.
        if workers.isEmpty { throw .noThreads(error) }
        break
      }
    }
    while !state.isReady.load(ordering: .acquiring) {
      let signal = waitForSignal()
      // A wake-up that comes together with it is taken second.
      if Self.endings.contains(signal) { early = signal }
      let canServe = early == nil && state.workerCount.load(ordering: .acquiring) > 0
      guard canServe || state.isReady.load(ordering: .acquiring) else {
        throw .refused(mountpoint.path, FuseLog.take(or: "interrupted"))
      }
    }
    correctRootFile()
    FuseLog.takesOver = false
  }

  /// The kernel makes up the root's attributes before it knows anybody to ask. With the writeback cache it then trusts its
  /// own size and times of a regular file, and would show an empty one: so they are set, as a user would set them. The
  /// workers serve that.
  private func correctRootFile() {
    guard let file = state.fileSystem.rootFile else { return }
    let path = mountpoint.path.string
    truncate(path, off_t(file.size))
    let times = [timespec(tv_sec: 0, tv_nsec: Int(clinux_utime_omit)), file.modified.timespec]
    utimensat(AT_FDCWD, path, times, 0)
  }

  // MARK: Kernel cache

  /// Lets a file system reach the kernel's cache of this mount. The access is good until the session is gone.
  public var kernelCache: KernelCache {
    KernelCache(mountpoint: mountpoint, device: device ?? "", descriptor: fuse_session_fd(session), state: state)
  }
}
