// Problems while serving, for the log: at most one line a second, however many requests fail.

import Glibc
import Logging
import Synchronization
import SystemPackage

/// A log of failed requests that cannot flood.
final class ProblemLog: Sendable {
  private let logger = Logger(label: "cowmount")
  private let state = Mutex(State())

  private struct State {
    var second = time_t.min
    var suppressed = 0
    var count: UInt64 = 0
    var last: String?
  }

  /// How many there were, and the last one that was logged.
  var failures: (count: UInt64, last: String?) { state.withLock { ($0.count, $0.last) } }

  /// Logs that `action` failed, unless something was logged in this second.
  func report(_ action: @autoclosure () -> String, _ error: Errno) {
    let now = time(nil)
    let suppressed = state.withLock { state -> Int? in
      state.count += 1
      guard state.second != now else {
        state.suppressed += 1
        return nil
      }
      defer { (state.second, state.suppressed) = (now, 0) }
      return state.suppressed
    }
    guard let suppressed else { return }
    let problem = "\(action()) failed: \(error)"
    state.withLock { $0.last = problem }
    logger.error("\(problem)\(suppressed > 0 ? " (and \(suppressed) more problems before)" : "")")
  }
}
