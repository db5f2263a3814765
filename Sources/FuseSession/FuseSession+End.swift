// How a session ends: from outside, or because this process is told to. What it waits for may hang, because the image or
// the overlay does; a signal always gets through.

import CFuse
import CLinux
import Glibc
import Synchronization

extension FuseSession {
  /// Why a session ended.
  public enum End: Equatable, Sendable {
    /// Somebody unmounted it.
    case unmounted
    /// The kernel's device failed; the mount still stands and is dead.
    case failed
    /// This process was told to, with this signal.
    case signal(CInt)
  }

  /// Whether the mount is gone, or nobody serves it. A worker may still have a request, which waits for who knows what.
  private var isOver: Bool {
    state.isOver.load(ordering: .acquiring) || state.workerCount.load(ordering: .acquiring) == 0
  }

  /// Seconds between two looks round.
  private static let pause = 5

  /// Waits until the mount is gone or a signal asks for its end. Requests may still be in service then; ``stop()`` waits for
  /// them.
  ///
  /// - Parameter report: called when somebody asks how things are, with SIGUSR1.
  public func waitForEnd(report: () -> Void) -> End {
    if let early { return .signal(early) }
    while !isOver {
      state.watcherRests.store(true, ordering: .relaxed)
      let signal = waitForSignal()
      if Self.endings.contains(signal) { return .signal(signal) }
      if signal == Self.report {
        report()
        continue
      }
      // Wake-ups do not queue: the one for the request may be the one for the end, too.
      if isOver { break }
      lookRound()
      if let signal = waitForSignal(milliseconds: Self.pause * 1000) {
        if Self.endings.contains(signal) { return .signal(signal) }
        if signal == Self.report { report() }
      }
      lookRound()
    }
    if state.hasFailed.load(ordering: .acquiring) { return .failed }
    // From here on the place and even the device number may belong to another mount.
    device = nil
    return .unmounted
  }

  private func lookRound() {
    state.reapChildren()
    lookout?.look()
  }

  /// Takes the mount down. Programs that have its file open get errors from then on.
  ///
  /// What is being served is finished first. A further SIGINT, SIGTERM or SIGHUP stops waiting for that.
  ///
  /// - Returns: false where something was still under way; the process must end at once then.
  @discardableResult
  public func stop() -> Bool {
    if let device, let detaching = mountpoint.beginDetaching(device, device: fuse_session_fd(session)) {
      while waitpid(detaching, nil, WNOHANG) == 0 {
        guard Self.endings.contains(waitForSignal(with: SIGCHLD)) else { continue }
        let isDone = abandon()
        // Whoever waits for this process should find the mount gone. It has nothing to wait for now; not for ever.
        var rounds = 0
        while rounds < 100, waitpid(detaching, nil, WNOHANG) == 0 {
          usleep(10_000)
          rounds += 1
        }
        return isDone
      }
    }
    device = nil
    return stopWorkers() || abandon()
  }

  private func stopWorkers() -> Bool {
    state.isStopping.store(true, ordering: .releasing)
    while state.workerCount.load(ordering: .acquiring) > 0 {
      // Again and again: an interrupt that comes just before a worker waits is lost.
      for worker in workers { pthread_kill(worker.thread, Worker.interrupt) }
      if Self.endings.contains(waitForSignal(milliseconds: 20) ?? 0) { return false }
    }
    for worker in workers { pthread_join(worker.thread, nil) }
    workers = []
    return true
  }

  /// Lets go of the device, so that the kernel fails whatever waits for us. The end of the process alone does that only
  /// when its last thread has ended, and one that waits for a file that hangs may not even be killed.
  private func abandon() -> Bool {
    let nothing = open("/dev/null", O_RDWR | O_CLOEXEC)
    if nothing != -1 { dup2(nothing, fuse_session_fd(session)) }
    return false
  }

  // MARK: Signals

  func waitForSignal(with other: CInt? = nil) -> CInt {
    while true {
      if let signal = waitForSignal(milliseconds: 60_000, with: other) { return signal }
    }
  }

  /// Takes the next signal, or nil after the time.
  func waitForSignal(milliseconds: Int, with other: CInt? = nil) -> CInt? {
    var signals = Self.watched
    if let other { sigaddset(&signals, other) }
    var time = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
    let signal = sigtimedwait(&signals, nil, &time)
    return signal > 0 ? signal : nil
  }
}
