// How far a pass through a whole compressed file is, for the user who waits for it: a line on the terminal that is written
// over, else a line in the log every tenth of the way.

internal import CompressedImages
internal import DiskIO
internal import Glibc
internal import Logging

/// The progress of one pass.
struct PassProgress {
  private let name: String
  private let isTerminal = isatty(STDERR_FILENO) == 1
  private let logger = Logger(label: "cowmount")
  private let begin = ContinuousClock.now
  /// The last percentage told; nil where nothing was.
  private var told: UInt64?

  /// Most passes are over before anybody wants to know how far they are.
  private static let patience = Duration.milliseconds(500)

  init(name: String) {
    self.name = name
  }

  /// Tells what is new.
  mutating func tell(_ progress: CompressionProgress) {
    let percent = progress.all == 0 ? 100 : UInt64(100 * min(1, Double(progress.done) / Double(progress.all)))
    let step: UInt64 = isTerminal ? 1 : 10
    guard ContinuousClock.now - begin >= Self.patience, percent >= (told.map { $0 + step } ?? 0) else { return }
    told = percent
    let what =
      switch progress.task {
      case .indexing: "looking for the places in \(name) from which it can be read"
      case .decompressing: "decompressing \(name) into the overlay directory"
      }
    if isTerminal {
      Console.write("\rcowmount: \(what.printable): \(percent) %\u{1B}[K")
    } else {
      logger.notice("\(what): \(percent) %")
    }
  }

  /// Takes the line on the terminal away.
  mutating func end() {
    if isTerminal, told != nil { Console.write("\r\u{1B}[K") }
    told = nil
  }
}
