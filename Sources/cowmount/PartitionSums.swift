// What was changed in each partition of a mounted disk.

internal import MountControl
internal import MountedDisk

/// A partition, as far as sums need it.
struct PartitionRange: Equatable {
  let number: UInt64
  let bytes: Range<UInt64>
  /// Its type and name, for people.
  let description: String
}

/// Sums of changes by partition.
struct PartitionSums {
  private var partitions: [(partition: PartitionRange, total: ChangeTotal)]
  /// Between partitions, and in the table itself.
  private var outside = ChangeTotal()

  init(_ partitions: [PartitionRange]) {
    self.partitions = partitions.map { ($0, ChangeTotal()) }
  }

  mutating func add(_ change: DiskChange) {
    var outside = [change.bytes]
    for index in partitions.indices {
      let bytes = partitions[index].partition.bytes
      let part = change.bytes.clamped(to: bytes)
      guard !part.isEmpty else { continue }
      partitions[index].total.add(change.kind, part.upperBound - part.lowerBound)
      outside = outside.flatMap {
        [$0.clamped(to: 0..<bytes.lowerBound), $0.clamped(to: bytes.upperBound..<UInt64.max)]
      }
    }
    for part in outside { self.outside.add(change.kind, part.upperBound - part.lowerBound) }
  }

  private var rows: [(partition: PartitionRange?, total: ChangeTotal)] {
    partitions.map { ($0.partition, $0.total) } + [(nil, outside)]
  }

  var lines: [String] {
    let cells = rows.map { row in
      [
        row.partition.map { "\($0.number)" } ?? "-", "\(row.total.written.bytes)", humanSize(row.total.written.bytes),
        "\(row.total.zeroed.bytes)", humanSize(row.total.zeroed.bytes),
        row.partition?.description ?? "outside of partitions",
      ]
    }
    return TextTable.lines(
      ["NUMBER", "WRITTEN", "HUMAN", "ZEROED", "HUMAN", "PARTITION"], cells, rightAligned: [0, 1, 2, 3, 4])
  }

  var json: JSON {
    let partitions = rows.map { row in
      JSON.object([
        ("number", row.partition.map { .number($0.number) } ?? .null),
        ("start", row.partition.map { .number($0.bytes.lowerBound) } ?? .null),
        ("size", row.partition.map { .number($0.bytes.upperBound - $0.bytes.lowerBound) } ?? .null),
        ("name", row.partition.map { .string($0.description) } ?? .null),
        ("written", .number(row.total.written.bytes)),
        ("zeroed", .number(row.total.zeroed.bytes)),
      ])
    }
    return .object([
      ("partitions", .array(partitions)),
      ("written", .number(rows.reduce(0) { $0 + $1.total.written.bytes })),
      ("zeroed", .number(rows.reduce(0) { $0 + $1.total.zeroed.bytes })),
    ])
  }
}
