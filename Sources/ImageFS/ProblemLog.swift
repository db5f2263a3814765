// Problems while serving, for the log: at most one line a second, however many requests fail.

import Glibc
import Logging
import Synchronization
import SystemPackage

/// A log of failed requests that cannot flood.
final class ProblemLog: Sendable {
  private let logger = Logger(label: "cowmount")
  private let state = Mutex((second: time_t.min, suppressed: 0))

  /// Logs that `action` failed, unless something was logged in this second.
  func report(_ action: @autoclosure () -> String, _ error: Errno) {
    let now = time(nil)
    let suppressed = state.withLock { state -> Int? in
      guard state.second != now else {
        state.suppressed += 1
        return nil
      }
      defer { state = (now, 0) }
      return state.suppressed
    }
    guard let suppressed else { return }
    let more = suppressed > 0 ? " (and \(suppressed) more problems before)" : ""
    logger.error("\(action()) failed: \(error)\(more)")
  }
}
