// The watch is looking at things now and then. It has a thread of its own, because what is looked at may hang: an image can be
// on another mount whose server does not answer. Whoever waits for the end of this mount must not hang with it.

import Glibc
import SystemPackage
import Threads

/// A thread that looks each time it is asked to. It lives as long as the process.
final class WatchThread: @unchecked Sendable {
  // SAFETY: `isAsked` is touched under `monitor` alone.
  private let monitor = Monitor()
  private var isAsked = false

  /// Starts the thread.
  init(look: sending @escaping () -> Void) throws(Errno) {
    let thread = try startThread { [self] in
      while true {
        monitor.withLock {
          while !isAsked { monitor.wait() }
          isAsked = false
        }
        look()
      }
    }
    pthread_detach(thread)
  }

  /// Has it look. Returns at once; where it is still at it, it looks once more afterwards.
  func look() {
    monitor.withLock {
      isAsked = true
      monitor.changed()
    }
  }
}
