// Nothing here may wait for ever. A deadline that is not called off runs its action on a thread of its own, because the
// thread that waits may be stuck in a system call on a hung mount. Killing the process that serves the mount is what
// gets it out.

import Glibc
import Synchronization

enum Watchdog {
  private struct Deadline {
    let time: ContinuousClock.Instant
    let action: @Sendable () -> Void
  }

  private struct State {
    var deadlines: [Int: Deadline] = [:]
    var next = 0
  }

  private static let state = Mutex(State())

  /// Calls `action` once, unless called off before.
  static func start(_ limit: Duration, action: @escaping @Sendable () -> Void) -> Int {
    _ = thread
    return state.withLock {
      $0.next += 1
      $0.deadlines[$0.next] = Deadline(time: .now + limit, action: action)
      return $0.next
    }
  }

  static func callOff(_ deadline: Int) {
    state.withLock { _ = $0.deadlines.removeValue(forKey: deadline) }
  }

  private static let thread: Void = {
    var thread = pthread_t()
    pthread_create(&thread, nil, { _ in Watchdog.watch() }, nil)
    pthread_detach(thread)
  }()

  private static func watch() -> Never {
    while true {
      usleep(100_000)
      let due = state.withLock { state in
        let due = state.deadlines.filter { $0.value.time < .now }
        for key in due.keys { state.deadlines.removeValue(forKey: key) }
        return due.values.map(\.action)
      }
      for action in due { action() }
    }
  }
}

/// Waits until `condition` holds; whether it did in time.
func eventually(
  within limit: Duration = .seconds(10), every pause: Duration = .milliseconds(5), _ condition: () async throws -> Bool
) async throws -> Bool {
  let end = ContinuousClock.now + limit
  while true {
    if try await condition() { return true }
    if ContinuousClock.now >= end { return false }
    try await Task.sleep(for: pause)
  }
}
