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
