// What came out of a run: every sample by row and contender, and what follows from them.

struct Results {
  struct Cell {
    var samples: [Double] = []
    /// Why a round gave no figure.
    var failures: [String] = []

    /// The middle sample; of an even number, the mean of the two in the middle. Nil once a round failed: a figure
    /// from the rounds that happened to go well would be kind to the one that failed.
    var median: Double? {
      guard failures.isEmpty, !samples.isEmpty else { return nil }
      let sorted = samples.sorted()
      let middle = sorted.count / 2
      return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
  }

  /// The contenders that took part, in the order of the columns.
  let contenders: [String]
  /// The lines, in the order of the table.
  let rows: [Row]
  private var cells: [String: [String: Cell]] = [:]

  init(contenders: [String], rows: [Row]) {
    self.contenders = contenders
    self.rows = rows
  }

  mutating func add(_ outcome: Outcome, row: Row, contender: String) {
    switch outcome {
    case .value(let value): cells[row.id, default: [:]][contender, default: Cell()].samples.append(value)
    case .failed(let reason): cells[row.id, default: [:]][contender, default: Cell()].failures.append(reason)
    case .none: break
    }
  }

  /// Nil where the row has no meaning for the contender.
  func cell(_ row: Row, _ contender: String) -> Cell? {
    cells[row.id]?[contender]
  }

  /// How far ahead of another cowmount is: 2 is twice as good, whichever way the row counts. Nil where either has no
  /// figure, or one that the table shows as zero.
  func ratio(_ row: Row, against other: String) -> Double? {
    let least = row.unit.leastShown
    guard let own = cell(row, subject)?.median, let theirs = cell(row, other)?.median, own >= least,
      theirs >= least
    else { return nil }
    return row.higherIsBetter ? own / theirs : theirs / own
  }

  /// The best of those that are neither cowmount nor the plain file.
  func bestRival(_ row: Row) -> String? {
    let rivals = contenders.filter { $0 != subject && $0 != reference && cell(row, $0)?.median != nil }
    return rivals.max { one, other in
      let (first, second) = (cell(row, one)?.median ?? 0, cell(row, other)?.median ?? 0)
      return row.higherIsBetter ? first < second : first > second
    }
  }

  /// Everything that failed: a line for each contender and reason, with the rows it cost.
  var failures: [String] {
    contenders.flatMap { contender in
      var reasons: [(reason: String, rows: [String])] = []
      for row in rows {
        guard let reason = cell(row, contender)?.failures.first else { continue }
        if let index = reasons.firstIndex(where: { $0.reason == reason }) {
          reasons[index].rows.append(row.id)
        } else {
          reasons.append((reason, [row.id]))
        }
      }
      return reasons.map { "\(contender): \($0.reason) (\($0.rows.joined(separator: ", ")))" }
    }
  }
}

/// The contender that the table is about.
let subject = "cowmount"
/// The contender that stands for no overlay at all.
let reference = "plain"
