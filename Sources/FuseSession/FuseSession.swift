// A mounted file system from its first moment to its last, in two processes. One has rights: it checks the options and
// mounts. The other has none, and serves: it gets the descriptor of the FUSE device that the first one mounted with. Both
// have the session that was made before they parted.
//
// The order of things: options are checked and libfuse's session is made; the mount appears; workers start and the kernel
// agrees on the protocol (ready); requests are served. It ends from outside (somebody unmounts: the workers' reads report
// it) or because it is told to: the mount is detached while the workers still serve, because the kernel then writes back
// what it has cached, and only then are the workers told to leave. Closing the device ends what is still open with
// ENOTCONN. libfuse's own unmount closes the device first and unmounts by path whatever is there; it is not used.

import CFuse
import CLinux
import DiskIO
import Glibc
import Synchronization
import SystemPackage
import Threads

/// One mount of one file system. In each process, used by one thread.
public final class FuseSession {
  let session: OpaquePointer
  /// Where callbacks find the state. It outlives this object: so may workers.
  private let slot: UnsafeMutablePointer<UnsafeRawPointer?>
  private let isReadOnly: Bool
  var state: SessionState?
  var workers: [Worker] = []
  var watchThread: WatchThread?

  /// Prepares a session. Nothing is mounted yet.
  ///
  /// - Parameters:
  ///   - options: mount options as fuse programs take them with `-o`, one each.
  ///   - place: the mountpoint, for messages.
  ///   - isReadOnly: whether the options have the kernel refuse writes.
  public init(options: [String], place: FilePath, isReadOnly: Bool) throws(FuseError) {
    // Newer libraries take it, and without the capability do nothing.
    if let option = options.first(where: { $0.utf8.starts(with: "io_uring".utf8) }) {
      throw .overUring(option: option)
    }
    try Self.checkDevice()
    FuseLog.install()
    self.isReadOnly = isReadOnly
    slot = .allocate(capacity: 1)
    slot.initialize(to: nil)

    var arguments = fuse_args()
    defer { fuse_opt_free_args(&arguments) }
    fuse_opt_add_arg(&arguments, "cowmount")
    for option in options {
      fuse_opt_add_arg(&arguments, "-o")
      _ = option.withCarriedCString { fuse_opt_add_arg(&arguments, $0) }
    }
    var operations = makeOperations()
    let size = MemoryLayout.size(ofValue: operations)
    guard let session = cfuse_session_new(&arguments, &operations, size, slot) else {
      throw .refused(place, FuseLog.take(or: "libfuse does not take the options \(options)"))
    }
    self.session = session
  }

  private static func checkDevice() throws(FuseError) {
    let descriptor = open("/dev/fuse", O_RDWR | O_CLOEXEC)
    // libfuse opens it itself, also where fusermount3 mounts.
    if descriptor == -1 { throw .noDevice(.current) }
    close(descriptor)
    guard geteuid() != 0 else { return }
    let found = Self.searchPath.contains { access($0 + "/fusermount3", X_OK) == 0 }
    if !found { throw .noFusermount }
  }

  private static var searchPath: [String] {
    let path = getenv("PATH").map { String(cString: $0) } ?? ""
    return path.split(separator: ":").map(String.init) + ["/usr/bin", "/bin"]
  }

  // MARK: With rights

  /// Mounts.
  ///
  /// - Returns: the FUSE device to serve the mount by. Whoever has it open keeps the mount alive.
  public func mount(at mountpoint: Mountpoint) throws(FuseError) -> File {
    // Root mounts on what was looked at. fusermount3 takes no descriptor; it looks for itself, with the user's rights.
    let place = geteuid() == 0 ? mountpoint.pinned.place.link : mountpoint.path
    // fusermount3 writes what it has to say to standard error itself.
    let result = FuseLog.capturingStandardError {
      place.withPlatformString { fuse_session_mount(session, $0) }
    }
    guard result == 0 else {
      let words = FuseLog.take(or: "the kernel refused").replacing(place.string, with: mountpoint.path.string)
      // libfuse asks fusermount3 where mount(2) is not permitted. For root, that has no more rights, and cannot find a place
      // that is named by a descriptor of this process.
      if geteuid() == 0, words.contains("fusermount3") { throw .noRight(mountpoint.path) }
      throw .refused(mountpoint.path, words)
    }
    FuseLog.takesOver = false
    return File(adopting: fuse_session_fd(session))
  }

  // MARK: Without rights

  /// Takes over a FUSE device, starts `threads` workers, and waits until the kernel has agreed: when this returns, the mount
  /// answers.
  ///
  /// - Parameters:
  ///   - fileSystem: what answers.
  ///   - device: a descriptor of the device, from ``mount(at:)``.
  ///   - threads: how many serve.
  ///   - watch: called every few seconds while requests come, and once after the last of them. It may take as long as
  ///     it likes, or never return.
  public func serve(
    _ fileSystem: FileSystem, on device: consuming File, threads: Int, watch: sending @escaping () -> Void
  ) throws(FuseError) {
    // libfuse's own, which outlives this object as its workers may.
    let descriptor = fcntl(device.descriptor, F_DUPFD_CLOEXEC, 0)
    guard descriptor != -1, fuse_session_mount(session, "/dev/fd/\(descriptor)") == 0 else {
      throw .unservable(FuseLog.take(or: "libfuse does not take the device"))
    }
    Worker.installInterruptHandler()
    do throws(Errno) {
      let state = try SessionState(fileSystem: fileSystem, isReadOnly: isReadOnly)
      self.state = state
      slot.pointee = UnsafeRawPointer(Unmanaged.passRetained(state).toOpaque())
      watchThread = try WatchThread(look: watch)
      try startWorkers(threads, state)
      while !state.isReady.load(ordering: .acquiring) {
        guard state.workerCount.load(ordering: .acquiring) > 0 else { throw .socketNotConnected }
        waitForWake()
      }
    } catch .socketNotConnected {
      throw .unservable(FuseLog.take(or: "interrupted"))
    } catch {
      throw .noThreads(error)
    }
    FuseLog.takesOver = false
  }

  private func startWorkers(_ count: Int, _ state: SessionState) throws(Errno) {
    for _ in 0..<count {
      do {
        workers.append(try Worker(serving: session, state: state))
      } catch {
        // A few are enough; none is not.
        if workers.isEmpty { throw error }
        return
      }
    }
  }

  /// Lets a file system reach the kernel's cache of this mount, once it is served.
  ///
  /// - Parameter ask: how the kernel is made to write back. Called by workers.
  public func kernelCache(ask: @escaping KernelCache.Ask) -> KernelCache? {
    state.map { KernelCache(state: $0, ask: ask) }
  }

  /// What is asked of the mount, once it is served.
  public var requestCounts: RequestCounts? { state?.requestCounts }
}
