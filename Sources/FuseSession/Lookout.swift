// Looking round now and then, on a thread of its own, because what is looked at may hang: an image can be on another mount
// whose server does not answer. Whoever waits for the end of this mount must not hang with it.

import Glibc
import Synchronization
import SystemPackage
import Threads

/// A thread that looks round each time it is asked to. It lives as long as the process.
final class Lookout: @unchecked Sendable {
  // SAFETY: the semaphore has a fixed address, is never destroyed, and synchronises itself.
  private let request = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
  private let isRequested = Atomic(false)

  /// Starts the thread.
  init(look: sending @escaping () -> Void) throws(Errno) {
    request.initialize(to: sem_t())
    sem_init(request, 0, 0)
    let thread = try startThread { [self] in
      while true {
        while sem_wait(request) == -1 {}
        _ = isRequested.exchange(false, ordering: .acquiringAndReleasing)
        look()
      }
    }
    pthread_detach(thread)
  }

  /// Has it look round. Returns at once; where it is still at it, it looks once more afterwards.
  func look() {
    if !isRequested.exchange(true, ordering: .acquiringAndReleasing) { sem_post(request) }
  }
}
