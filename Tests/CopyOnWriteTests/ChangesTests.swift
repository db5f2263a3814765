// What a disk says was changed. (That it is right after any program of verbs is checked with the model.)

import DiskIO
import Testing

@testable import CopyOnWrite

extension CowDisk {
  /// All changes, neighbours of one kind put together, found by looks of so much effort.
  func changes(effort: Int = .max) -> [Change] {
    var changes: [Change] = []
    var offset: UInt64 = 0
    while true {
      switch nextChange(from: offset, effort: effort) {
      case .none: return changes
      case .noneBefore(let next):
        precondition(next > offset, "a look gets on")
        offset = next
      case .change(let change):
        if let last = changes.last, last.isZeroed == change.isZeroed, last.bytes.upperBound == change.bytes.lowerBound {
          changes[changes.count - 1] = Change(
            bytes: last.bytes.lowerBound..<change.bytes.upperBound, isZeroed: change.isZeroed)
        } else {
          changes.append(change)
        }
        offset = change.bytes.upperBound
      }
    }
  }
}

@Suite struct ChangesTests {
  private func change(_ bytes: Range<UInt64>, zeroed: Bool = false) -> CowDisk.Change {
    CowDisk.Change(bytes: bytes, isZeroed: zeroed)
  }

  @Test func `what is written and what is zeroed is told apart, to the byte at the end`() throws {
    let disk = try makeDisk(over: TestBase(pattern(40_000, salt: 1)), blockSize: 4096)
    #expect(disk.changes().isEmpty)
    try disk.write(pattern(1, salt: 2), at: 5000)
    try disk.zero(8192..<16384)
    try disk.write(pattern(10, salt: 3), at: 39_990)
    #expect(disk.changes() == [change(4096..<8192), change(8192..<16384, zeroed: true), change(36864..<40_000)])
    #expect(disk.nextChange(from: 5001) == .change(change(5001..<8192)))
    #expect(disk.nextChange(from: 40_000) == .none)
    #expect(disk.nextChange(from: .max) == .none)
  }

  @Test func `copies of the base are no changes`() throws {
    let disk = try makeDisk(
      over: TestBase(pattern(40_000, salt: 1)), blockSize: 4096, options: .init(copyOnRead: .always))
    _ = try disk.bytes(0..<40_000)
    #expect(disk.cachedBytes > 0)
    #expect(disk.changes().isEmpty)
  }

  @Test func `base bytes that were cut off are zeroed when the disk grows over them`() throws {
    let disk = try makeDisk(over: TestBase(pattern(40_000, salt: 1)), blockSize: 4096)
    try disk.resize(to: 10_000)
    #expect(disk.changes().isEmpty)
    try disk.resize(to: 20_000)
    #expect(disk.changes() == [change(10_000..<20_000, zeroed: true)])
    try disk.resize(to: 1 << 30)
    #expect(disk.changes() == [change(10_000..<40_000, zeroed: true)])
  }

  @Test func `a look with little effort gets on`() throws {
    let disk = try makeDisk(over: TestBase(pattern(400_000, salt: 1)), blockSize: 4096)
    for block in stride(from: 0, to: 90, by: 3) as StrideTo<UInt64> { try disk.write([7], at: block * 4096) }
    #expect(disk.changes(effort: 1) == disk.changes())
    #expect(disk.changes().count == 30)
    #expect(disk.nextChange(from: 4096, effort: 1) == .noneBefore(3 * 4096))
  }
}
