// How far a pass through a whole compressed file is, for the user who waits for it: a line on the terminal that is written
// over, else a line in the log every tenth of the way.

internal import BaseImage
internal import DiskIO
internal import Glibc
internal import Logging
internal import Synchronization

/// A process, as the system numbers them.
typealias ProcessID = pid_t

/// The progress of one pass.
final class PassProgress: Sendable {
  private let name: String
  private let starter: ProcessID?
  private let isTerminal = isatty(STDERR_FILENO) == 1
  private let logger = Logger(label: "cowmount")
  private let state: Mutex<State>

  private struct State {
    let begin = ContinuousClock.now
    /// The last percentage told; nil where nothing was.
    var told: UInt64?
  }

  /// Most passes are over before anybody wants to know how far they are.
  private static let patience = Duration.milliseconds(500)

  init(name: String, starter: ProcessID?) {
    self.name = name
    self.starter = starter
    state = Mutex(State())
  }

  /// Tells what is new.
  func tell(_ progress: CompressionProgress) {
    // Nobody waits any more: the user gave up, so the mount is not wanted.
    if let starter, getppid() != starter { _exit(1) }
    let percent = progress.all == 0 ? 100 : UInt64(100 * (Double(progress.done) / Double(progress.all)))
    let isNews = state.withLock { state -> Bool in
      let step: UInt64 = isTerminal ? 1 : 10
      guard ContinuousClock.now - state.begin >= Self.patience, percent >= (state.told.map { $0 + step } ?? 0) else {
        return false
      }
      state.told = percent
      return true
    }
    guard isNews else { return }
    let what =
      switch progress.task {
      case .indexing: "looking for the places in \(name) from which it can be read"
      case .decompressing: "decompressing \(name) into the overlay directory"
      }
    if isTerminal {
      writeToStandardError("\rcowmount: \(what.printable): \(percent) %\u{1B}[K")
    } else {
      logger.notice("\(what): \(percent) %")
    }
  }

  /// Takes the line on the terminal away.
  func end() {
    if isTerminal, state.withLock({ $0.told }) != nil { writeToStandardError("\r\u{1B}[K") }
  }
}
