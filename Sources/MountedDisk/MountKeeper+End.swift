// How a mount ends: by itself, or because somebody says so.

internal import DiskIO
internal import FuseSession
internal import Glibc
internal import Logging
internal import SystemPackage
internal import Threads

extension MountKeeper {
  /// The server ended by itself.
  func serverEnded(_ end: String) throws {
    listener.prepareToEnd()
    switch over {
    case .unmounted:
      // What stands at that place now is not ours.
      guardian.dismiss()
      logger.info("unmounted")
    case .failed:
      logger.error("the kernel's FUSE device failed; the mount ends")
      _ = detachAndWait()
      throw MountEndedBadly()
    case nil:
      logger.error("the process that serves the mount \(end); the mount ends")
      _ = detachAndWait()
      throw MountEndedBadly()
    }
  }

  /// Takes the mount down while it is served, because the kernel then writes back what it has cached, and ends the server.
  /// A further signal does not wait for what is under way.
  func end() throws {
    listener.prepareToEnd()
    process?.send(.prepareToEnd)
    let isGone = detachAndWait()
    // One that does not listen will not end by itself.
    if let process, !process.send(.stop) { Glibc.kill(process.id, SIGKILL) }
    while process != nil {
      switch events.next() {
      case .signal(let signal) where Events.endings.contains(signal): abandon()
      case .children: _ = processEnd()
      case let event: take(event)
      }
    }
    if !isGone { throw MountEndedBadly() }
  }

  /// - Returns: whether the mount is gone.
  func detachAndWait() -> Bool {
    guard let standing else { return true }
    guardian.detach()
    while true {
      // Before waiting: it may have been killed long ago.
      switch guardian.end() {
      case .done(let outcome): return tell(outcome, standing)
      case .killed where renewGuard(): guardian.detach()
      // Nothing is left to wait with.
      case .killed: return tell(MountGuard.Outcome(mountpoint.detach(standing)), standing)
      case nil:
        switch events.next() {
        case .signal(let signal) where Events.endings.contains(signal): abandon()
        case .children: _ = processEnd()
        case let event: take(event)
        }
      }
    }
  }

  /// Starts another guard in place of one that was killed.
  ///
  /// - Returns: whether that worked.
  @discardableResult
  func renewGuard() -> Bool {
    guard let another = try? MountGuard.start(at: mountpoint) else { return false }
    guardian = another
    if let standing { guardian.protect(standing) }
    return true
  }

  private func tell(_ outcome: MountGuard.Outcome, _ standing: StandingMount) -> Bool {
    let path = (try? MountTable().entry(id: standing.id))?.mountpoint ?? mountpoint.path
    switch outcome {
    case .gone: return true
    case .covered:
      logger.error(
        "the mount at \(path) cannot be detached, because something else is mounted over it: unmount that, then umount \(path)"
      )
    case .refused: logger.error("the mount at \(path) cannot be detached: umount \(path)")
    }
    return false
  }

  /// Ends now. Whoever waits for this process should find the mount gone; it has nothing to wait for any more, but not for
  /// ever.
  private func abandon() -> Never {
    process?.send(.abandon)
    let deadline = Moment.now + .seconds(1)
    var isServed = process != nil
    var isGuarded = guardian.end() == nil
    while isServed || isGuarded, deadline > .now {
      _ = events.next(by: min(deadline, .now + .milliseconds(20)))
      isServed = isServed && processEnd() == nil
      isGuarded = isGuarded && guardian.end() == nil
    }
    _exit(listener.leave())
  }

  /// Hears and tells what there is until a condition holds, once the mount is gone.
  func linger(until isOver: () -> Bool) {
    while !isOver() {
      switch events.next() {
      case .signal(let signal): _ = listener.takes(signal, ofTerminal: events.isSignalOfTerminal)
      case let event: take(event)
      }
    }
  }
}
