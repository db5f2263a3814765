// The two ways to mount: at a place of the user's until somebody ends it, and at a private place for one command.

internal import CLinux
internal import DiskIO
internal import FuseSession
internal import Glibc
internal import SystemPackage
internal import VirtualDisks

/// A mounted disk.
public enum MountedDisk {
  /// Mounts, and serves until the end. In the background form the calling process ends as soon as the mount can be used; in
  /// the other one this returns when the mount has ended.
  ///
  /// - Throws: why it could not be mounted; ``MountEndedBadly``.
  public static func run(_ settings: MountSettings, at place: PlaceSettings) throws {
    let ready = try place.readyDescriptor.map(ReadyDescriptor.init)
    // Descriptors that the caller left open: a mount never keeps another program's lock or pipe.
    let kept = ready.map { [$0.descriptor] } ?? []
    clinux_close_others(kept, CInt(kept.count))
    ignoreSignals()
    ResourceLimit.raise(RLIMIT_FSIZE)
    try raiseDescriptorLimit()
    if place.staysInForeground {
      Log.start(toSystem: false, verbose: settings.isVerbose)
      try keep(settings, at: place, ready, ServiceManager.ofEnvironment, nil)
    } else {
      let background = try Background.enter()
      Log.start(toSystem: true, verbose: settings.isVerbose)
      try keep(settings, at: place, ready, nil, background)
    }
  }

  private static func keep(
    _ settings: MountSettings, at place: PlaceSettings, _ ready: ReadyDescriptor?, _ manager: ServiceManager?,
    _ background: Background?
  ) throws {
    // Servers that are started for the mount have nothing to tell whoever started it.
    unsetenv(ServiceManager.variable)
    let mountpoint = try Mountpoint(
      place.mountpoint, allowNonEmpty: place.allowsNonEmpty, deadType: "fuse.cowmount")
    if mountpoint.clearedDeadMount {
      Console.complain("cleared the dead mount that a killed cowmount had left at \(mountpoint.path)")
    }
    let announcement = Announcement(
      pidFile: try place.pidFile.map { try PidFile($0, avoiding: mountpoint) }, ready, manager, background)
    defer { _ = announcement.leave() }
    do {
      let keeper = try MountKeeper(
        settings, at: mountpoint, source: { try HeldSource(settings.source) }, for: announcement)
      try keeper.run(starter: background?.descriptor ?? -1)
    } catch {
      manager?.tell("STATUS=\(error)")
      throw error
    }
  }

  /// Mounts at a private place, runs a command, and ends the mount with it.
  ///
  /// - Parameter command: the program and its arguments; `{}` in them stands for the path of the writable file.
  /// - Returns: the command's exit status, or 128 and the number of the signal that ended it; 126 or 127 where it could not
  ///   be started.
  /// - Throws: why it could not be mounted; ``MountEndedBadly`` where the mount ended before the command, or not well.
  public static func run(_ settings: MountSettings, command: [String]) throws -> CInt {
    let inheritance = RunningCommand.Inheritance()
    ignoreSignals()
    ResourceLimit.raise(RLIMIT_FSIZE)
    try raiseDescriptorLimit()
    Log.start(toSystem: false, verbose: settings.isVerbose)
    // May take as long as it likes, and leaves nothing behind.
    let source = try HeldSource(settings.source)
    // Whoever interrupts is heard as soon as there is somebody to clean up.
    RunningCommand.holdSignals()
    let mountpoint = try Mountpoint(privateIn: privateParents)
    defer { mountpoint.removeIfPrivate() }
    let running = RunningCommand(command, inheritance)
    let keeper = try MountKeeper(
      settings, at: mountpoint, source: { source }, for: running, signals: RunningCommand.signals)
    let result = Result { try keeper.run() }
    let isLost = running.isRunning
    if isLost {
      Console.complain("the disk of \(running.name) is gone; it is asked to end")
      running.end()
      keeper.linger { !running.isRunning }
    }
    try result.get()
    guard !isLost, let status = running.status else { throw MountEndedBadly() }
    return status
  }

  /// $XDG_RUNTIME_DIR where that is the user's own, $TMPDIR, and /tmp where neither will do.
  private static var privateParents: [FilePath] {
    let temporary = getenv("TMPDIR").map { FilePath(platformString: $0) } ?? ""
    return (RuntimeDirectory.ofUser.map { [FilePath($0)] } ?? []) + (temporary.isAbsolute ? [temporary] : []) + ["/tmp"]
  }

  private static func ignoreSignals() {
    // A reader of our messages who went away must not take the mount with it.
    signal(SIGPIPE, SIG_IGN)
    // Neither must a limit on the size of files: who writes beyond it is told so (EFBIG).
    signal(SIGXFSZ, SIG_IGN)
  }

  /// What each process of a mount may need to have open, without connections to servers.
  private static let leastDescriptors: rlim_t = 64
  /// Enough for as many connections as there can be.
  private static let enoughDescriptors: rlim_t = 1024

  /// As far as it is of use. Where that is too little, no step on the way would say what the matter is.
  private static func raiseDescriptorLimit() throws {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    if limit.rlim_cur < enoughDescriptors {
      limit.rlim_cur = min(limit.rlim_max, enoughDescriptors)
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
    guard limit.rlim_cur < leastDescriptors else { return }
    throw MountFailure(
      "a process may have only \(limit.rlim_cur) files open here; raise the limit to \(leastDescriptors) or more (ulimit -n)"
    )
  }
}

/// Limits of this process (getrlimit(2)).
enum ResourceLimit {
  /// Raises a limit as far as this process may.
  static func raise(_ which: __rlimit_resource) {
    let which = __rlimit_resource_t(which.rawValue)
    var limit = rlimit()
    guard getrlimit(which, &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    setrlimit(which, &limit)
  }
}
