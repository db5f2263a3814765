// cowmount changes: what differs from the image. Printed as it is told: there may be millions of runs.

internal import ArgumentParser
internal import DiskIO
internal import MountControl
internal import MountedDisk

struct Changes: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List what was changed in a mount.",
    usage: "cowmount changes [--json] [--partitions] <mountpoint>",
    discussion: """
      Each line is a run of bytes that were written, or that are zeros where the image has something else. Who may read \
      the file may ask.
      """)

  @OptionGroup
  var target: MountArgument

  @Flag(name: .long, help: "Print JSON.")
  var json = false

  @Flag(name: .long, help: "Print sums for each partition of the disk.")
  var partitions = false

  func run() throws {
    let client = try target.open(for: .looking)
    try client.flush()
    if partitions {
      try printSums(client)
    } else if json {
      try printJSON(client)
    } else {
      try printLines(client)
    }
  }

  // MARK: Runs

  private func printLines(_ client: MountClient) throws(ControlError) {
    var total = ChangeTotal()
    var changes = client.changes()
    while let change = try changes.next() {
      if total.isEmpty { print(Self.line("OFFSET", "LENGTH", "CHANGE")) }
      total.add(change.kind, change.length)
      print(Self.line("\(change.bytes.lowerBound)", "\(change.length)", "\(change.kind)"))
    }
    print("\(total.written.words) written, \(total.zeroed.words) zeroed")
  }

  private static func line(_ offset: String, _ length: String, _ kind: String) -> String {
    let columns = [offset, length].map { String(repeating: " ", count: max(0, 16 - $0.utf8.count)) + $0 }
    return "\(columns[0]) \(columns[1])  \(kind)"
  }

  private func printJSON(_ client: MountClient) throws(ControlError) {
    var total = ChangeTotal()
    var changes = client.changes()
    print("{\n  \"changes\": [", terminator: "")
    while let change = try changes.next() {
      let separator = total.isEmpty ? "" : ","
      total.add(change.kind, change.length)
      print(
        """
        \(separator)
            {"offset": \(change.bytes.lowerBound), "length": \(change.length), "change": "\(change.kind)"}
        """, terminator: "")
    }
    print(
      """
      \(total.isEmpty ? "" : "\n  ")],
        "written": \(total.written.bytes),
        "zeroed": \(total.zeroed.bytes)
      }
      """)
  }

  // MARK: Sums

  private func printSums(_ client: MountClient) throws {
    var sums = PartitionSums(try PartitionLook.partitions(of: client))
    var changes = client.changes()
    while let change = try changes.next() { sums.add(change) }
    if json {
      print(sums.json.text)
    } else {
      for line in sums.lines { print(line) }
    }
  }
}

extension DiskChange {
  var length: UInt64 { bytes.upperBound - bytes.lowerBound }
}

/// How much was changed.
struct ChangeTotal: Equatable {
  /// In one way.
  struct Sum: Equatable {
    var bytes: UInt64 = 0
    var runs: UInt64 = 0

    var words: String { "\(bytes) bytes (\(humanSize(bytes))) in \(runs) run\(runs == 1 ? "" : "s")" }
  }

  var written = Sum()
  var zeroed = Sum()

  var isEmpty: Bool { written.runs + zeroed.runs == 0 }

  mutating func add(_ kind: DiskChange.Kind, _ bytes: UInt64) {
    guard bytes > 0 else { return }
    switch kind {
    case .written: written = Sum(bytes: written.bytes &+ bytes, runs: written.runs &+ 1)
    case .zeroed: zeroed = Sum(bytes: zeroed.bytes &+ bytes, runs: zeroed.runs &+ 1)
    }
  }
}
