// What a workload is: something done to an exposed file that fills one or more lines of the table.

import SystemPackage

enum Unit: String {
  case mebibytesPerSecond = "MiB/s"
  case thousandPerSecond = "k/s"
  case seconds = "s"
  case milliseconds = "ms"
  case mebibytes = "MiB"
  case ratio = "×"
  case percent = "%"
  case millisecondsPerSecond = "ms/s"

  /// Digits after the point that mean something.
  var digits: Int {
    switch self {
    case .mebibytesPerSecond, .percent: 0
    case .thousandPerSecond, .milliseconds, .mebibytes, .millisecondsPerSecond: 1
    case .seconds: 2
    case .ratio: 3
    }
  }

  /// The least value that those digits do not show as zero.
  var leastShown: Double { (0..<digits).reduce(0.5) { least, _ in least / 10 } }
}

/// One line of the table.
struct Row {
  let id: String
  let title: String
  let unit: Unit
  let higherIsBetter: Bool
}

/// What one measurement gave for one row.
enum Outcome {
  case value(Double)
  /// The contender cannot do this, with the reason.
  case failed(String)
  /// The row has no meaning for this contender: a plain file has no process.
  case none
}

/// One thing to measure.
protocol Workload {
  var id: String { get }
  /// The lines it fills, in the order of the outcomes that `measure` returns.
  var rows: [Row] { get }
  /// Whether one round is enough, because the figure does not vary or takes long.
  var once: Bool { get }
  /// Measures one contender, on a fresh exposure.
  func measure(_ contender: any Contender, in arena: Arena) async throws -> [Outcome]
}

extension Workload {
  var once: Bool { false }
}

/// How much is done. The quick form says whether everything works; its figures say little.
struct Scale {
  /// The bytes worked on, of a base of twice that size.
  let size: Int64
  /// The time that bounds a row.
  let seconds: Int
  /// The mounts of one base at the same time.
  let mounts: Int
  /// The files of the tree that is unpacked.
  let files: Int
  /// How long idleness is watched.
  let idle: Duration

  init(size: Int64, quick: Bool) {
    self.size = size
    (seconds, mounts, files, idle) = quick ? (1, 10, 800, .seconds(1)) : (3, 100, 6000, .seconds(5))
  }
}

/// The place of a run: its folder and what lies ready in there.
final class Arena {
  let directory: FilePath
  let scale: Scale
  let bases: Bases
  private var stages = 0

  init(directory: FilePath, scale: Scale) {
    self.directory = directory
    self.scale = scale
    bases = Bases(directory: directory, scale: scale)
  }

  /// A name for the folder of a new stage.
  func stageDirectory() -> FilePath {
    stages += 1
    return directory.appending("stage-\(stages)")
  }

  /// Exposes a base for the time of `body`.
  func withExposed<Result>(
    _ base: Base, by contender: any Contender, _ body: (Exposed) async throws -> Result
  ) async throws -> Result {
    try await contender.withExposed(base, in: stageDirectory(), body)
  }
}

/// A size the way people write it.
func sizeText(_ bytes: Int64) -> String {
  for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB")] where bytes >= 1 << shift {
    return "\(bytes >> shift) \(unit)"
  }
  return "\(bytes) bytes"
}
