// What cowmount changes makes of what it is told.

import MountControl
import Testing

@testable import cowmount

@Suite struct ChangeSumsTests {
  private func sums(_ changes: [DiskChange], _ partitions: [(UInt64, Range<UInt64>)]) -> PartitionSums {
    var sums = PartitionSums(partitions.map { PartitionRange(number: $0.0, bytes: $0.1, description: "Linux") })
    for change in changes { sums.add(change) }
    return sums
  }

  @Test func aRunIsDividedAmongPartitions() {
    let lines = sums(
      [
        DiskChange(50..<350, .written), DiskChange(400..<500, .zeroed),
        DiskChange(UInt64(1 << 62)..<1 << 62 + 1, .written),
      ],
      [(1, 100..<200), (5, 300..<450)]
    ).lines
    #expect(
      lines == [
        "NUMBER  WRITTEN  HUMAN  ZEROED  HUMAN  PARTITION", "     1      100  100 B       0    0 B  Linux",
        "     5       50   50 B      50   50 B  Linux", "     -      151  151 B      50   50 B  outside of partitions",
      ])
  }

  @Test func withoutPartitionsAllIsOutside() {
    #expect(
      sums([DiskChange(0..<7, .zeroed)], []).lines.last
        == "     -        0    0 B       7    7 B  outside of partitions")
  }

  @Test func whatTheProcessWithoutRightsSaysIsChecked() {
    #expect(PartitionRange(line: "1 2 3 Linux root")?.bytes == 2..<3)
    #expect(PartitionRange(line: "1 2 3 a\u{1B}[2J")?.description == "a\u{FFFD}[2J")
    #expect(PartitionRange(line: "1 2 3")?.description == "")
    for line in ["", "1", "1 2", "1 3 2 x", "a 2 3 x", "1 -2 3 x", "1 2 99999999999999999999 x"] {
      #expect(PartitionRange(line: line) == nil, "\(line)")
    }
  }

  @Test(
    arguments: [
      (0, "0 s"), (59, "59 s"), (60, "1 min"), (61, "1 min 1 s"), (86_399, "23 h 59 min"), (90_000, "1 d 1 h"),
      (86_400, "1 d"),
    ] as [(UInt64, String)])
  func timesForPeople(seconds: UInt64, words: String) { #expect(humanTime(seconds) == words) }
}
