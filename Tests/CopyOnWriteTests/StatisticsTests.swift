// The numbers of a disk: every read of the base is counted, and nothing else.

import Testing

@testable import CopyOnWrite

@Suite struct StatisticsTests {
  private static let blockSize = 16384
  private let base = TestBase(pattern(8 * blockSize), holes: [0..<UInt64(blockSize)])

  private func expectCounted(_ disk: CowDisk, sourceLocation: SourceLocation = #_sourceLocation) {
    let statistics = disk.statistics
    #expect(
      statistics
        == Statistics(
          baseReads: UInt64(base.reads), baseBytes: UInt64(base.bytesRead), writtenBytes: disk.allocatedBytes,
          cachedBytes: disk.cachedBytes), sourceLocation: sourceLocation)
  }

  @Test(arguments: [false, true])
  func `every read of the base is counted`(copiesReads: Bool) throws {
    let disk = try makeDisk(
      over: base, blockSize: Self.blockSize, options: .init(copyOnRead: copiesReads ? .always : .never))
    expectCounted(disk)
    _ = try disk.bytes(20_000..<30_000)
    #expect(base.reads == 1)
    expectCounted(disk)
    // Copy-up, of what is before and what is behind.
    try disk.write([1], at: 5 * UInt64(Self.blockSize) + 7)
    #expect(base.reads == 3)
    expectCounted(disk)
    _ = try disk.contents()
    try disk.zero(3 * UInt64(Self.blockSize) + 1..<disk.size)
    _ = try disk.contents()
    expectCounted(disk)
    // In place, whole blocks, zeros and extents do not need the base.
    let reads = base.reads
    try disk.write([2], at: 5 * UInt64(Self.blockSize) + 8)
    try disk.write(filled(3, Self.blockSize), at: 0)
    _ = try disk.bytes(6 * UInt64(Self.blockSize)..<disk.size)
    _ = try disk.extent(at: 0)
    #expect(base.reads == reads)
    expectCounted(disk)
  }
}
