// How serving ends: because somebody unmounted, or because it is told to. What it waits for may hang, because the image or
// the overlay does; it can always be abandoned.

import CFuse
import DiskIO
import Glibc
import Synchronization

extension FuseSession {
  /// Whether the mount is gone, or nobody serves it. A worker may still have a request, which waits for who knows what.
  public var isOver: Bool {
    guard let state else { return true }
    return state.isOver.load(ordering: .acquiring) || state.workerCount.load(ordering: .acquiring) == 0
  }

  /// Whether the kernel's device failed: nobody serves, and the mount still stands.
  public var hasFailed: Bool {
    guard let state else { return false }
    return !state.isOver.load(ordering: .acquiring) && state.workerCount.load(ordering: .acquiring) == 0
  }

  // MARK: The watch

  /// A descriptor that becomes readable when there is something to see to: the end, or the first request since
  /// ``rest()``. ``takeWake()`` makes it quiet again.
  public var wakeDescriptor: CInt { state?.wakeUp.descriptor ?? -1 }

  /// Takes what made ``wakeDescriptor`` readable.
  public func takeWake() {
    var count: UInt64 = 0
    _ = read(wakeDescriptor, &count, MemoryLayout.size(ofValue: count))
  }

  /// Asks to be woken by the next request.
  public func rest() { state?.wakesOnRequest.store(true, ordering: .relaxed) }

  /// Has the workers give back the memory that they keep for requests, for a mount that nobody uses at the moment.
  public func giveBackMemory() {
    state?.idleTimes.add(1, ordering: .releasing)
    // One that is about to wait for a request misses it, and keeps its memory until the next time.
    for worker in workers { pthread_kill(worker.thread, Worker.interrupt) }
  }

  /// Has the watch looked to, on a thread of its own. Returns at once.
  public func watch() { watchThread?.look() }

  func waitForWake() {
    var wait = pollfd(fd: wakeDescriptor, events: Int16(POLLIN), revents: 0)
    poll(&wait, 1, -1)
    takeWake()
  }

  // MARK: Ending

  /// Has the workers finish what they serve, and waits for them.
  ///
  /// - Parameter isWanted: asked again and again, after some milliseconds each time, whether to go on waiting.
  /// - Returns: false where something was still under way; the process must end at once then (``abandon()``).
  public func stop(while isWanted: () -> Bool) -> Bool {
    guard let state else { return true }
    state.isStopping.store(true, ordering: .releasing)
    while state.workerCount.load(ordering: .acquiring) > 0 {
      // Again and again: an interrupt that comes just before a worker waits is lost.
      for worker in workers { pthread_kill(worker.thread, Worker.interrupt) }
      guard isWanted() else { return false }
    }
    for worker in workers { pthread_join(worker.thread, nil) }
    workers = []
    return true
  }

  /// Whether ``stop(while:)`` was called.
  public var isStopping: Bool { state?.isStopping.load(ordering: .acquiring) ?? false }

  /// Lets go of the device, so that the kernel fails whatever waits for us. The end of the process alone does that only
  /// when its last thread has ended, and one that waits for a file that hangs may not even be killed.
  public func abandon() {
    // Any descriptor does that is not the device: one that is there, since none may be opened.
    dup2(wakeDescriptor, fuse_session_fd(session))
  }
}
