// What the command calls: a mount from its settings to its end.

internal import CLinux
internal import Glibc

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
    // As far as the caller may raise it: what the caller meant for its own files is not meant for the overlay.
    ResourceLimit.raise(RLIMIT_FSIZE)
    try raiseDescriptorLimit()
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

extension MountedDisk {
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
