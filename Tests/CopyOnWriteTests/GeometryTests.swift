// Geometry, exhaustively, against definitions that look at every byte. Blocks of one to eight bytes make that possible:
// the arithmetic is the same for every power of two.

import Testing

@testable import CopyOnWrite

@Suite struct GeometryTests {
  /// Binary logarithms of the block sizes that are tried in full, and how many bytes of disk that takes.
  private static let shifts: [UInt64] = [0, 1, 2, 3]
  private static let mostBytes: UInt64 = 28

  /// Tries every range within every size.
  private func forEveryRange(_ body: (_ range: Range<UInt64>, _ diskSize: UInt64) -> Void) {
    for diskSize in 0...Self.mostBytes {
      for start in 0...diskSize {
        for end in start...diskSize { body(start..<end, diskSize) }
      }
    }
  }

  @Test func `takes powers of two from 4 KiB to 2 MiB and nothing else`() {
    for shift in 12...21 {
      #expect(Geometry(blockSize: 1 << shift)?.blockSize == 1 << UInt64(shift))
      #expect(Geometry(blockSize: (1 << shift) + 1) == nil)
      #expect(Geometry(blockSize: (1 << shift) - 1) == nil)
    }
    for size in [Int.min, -4096, -1, 0, 1, 512, 2048, 3000, 6144, 12288, 1 << 22, Int.max] {
      #expect(Geometry(blockSize: size) == nil, "\(size)")
    }
  }

  @Test(arguments: shifts)
  func `blocks follow each other, each of the block size`(shift: UInt64) {
    let geometry = Geometry(blockShift: shift)
    var block: UInt64 = 0
    var left = geometry.blockSize
    for offset in 0...Self.mostBytes {
      if left == 0 {
        block += 1
        left = geometry.blockSize
      }
      left -= 1
      #expect(geometry.block(of: offset) == block)
      #expect(geometry.bytes(of: block..<block + 1).contains(offset))
      #expect(geometry.start(of: block) == offset - (geometry.blockSize - 1 - left))
    }
  }

  @Test(arguments: shifts)
  func `a disk has as many blocks as its bytes are in`(shift: UInt64) {
    let geometry = Geometry(blockShift: shift)
    for size in 0...Self.mostBytes {
      let blocks = Set((0..<size).map { geometry.block(of: $0) })
      #expect(geometry.blockCount(for: size) == UInt64(blocks.count))
      #expect(geometry.roundedUp(size) == UInt64(blocks.count) * geometry.blockSize)
    }
  }

  @Test(arguments: shifts)
  func `a range touches the blocks that its bytes are in`(shift: UInt64) {
    let geometry = Geometry(blockShift: shift)
    forEveryRange { range, _ in
      let naive = Set(range.map { geometry.block(of: $0) })
      let touched = geometry.blocks(touchedBy: range)
      if Set(touched) != naive { Issue.record("\(range) touches \(touched) instead of \(naive.sorted())") }
    }
  }

  @Test(arguments: shifts)
  func `split takes as whole the blocks all of whose bytes are in the range`(shift: UInt64) {
    let geometry = Geometry(blockShift: shift)
    forEveryRange { range, diskSize in
      let split = geometry.split(range, diskSize: diskSize)
      let whole = (0..<geometry.blockCount(for: diskSize)).filter { block in
        // A disk's last block has only the bytes that the disk has.
        geometry.bytes(of: block..<block + 1).allSatisfy { $0 >= diskSize || range.contains($0) }
      }
      if Array(split.body) != whole { Issue.record("\(range) of \(diskSize): \(split), whole are \(whole)") }
    }
  }

  @Test(arguments: shifts)
  func `head and tail of a split are what is left, each within one block`(shift: UInt64) {
    let geometry = Geometry(blockShift: shift)
    forEveryRange { range, diskSize in
      let split = geometry.split(range, diskSize: diskSize)
      let body = geometry.bytes(of: split.body).filter { $0 < diskSize }
      let parts = Array(split.head) + body + Array(split.tail)
      if parts != Array(range) { Issue.record("\(range) of \(diskSize) comes back as \(split)") }
      for part in [split.head, split.tail] where geometry.blocks(touchedBy: part).count > 1 {
        Issue.record("\(range) of \(diskSize): \(part) is in more than one block")
      }
    }
  }

  @Test func `sizes up to the largest file do not overflow`() throws {
    for shift in [12, 21] as [UInt64] {
      let geometry = Geometry(blockShift: shift)
      let last = UInt64(Int64.max)
      #expect(geometry.block(of: last) == last / geometry.blockSize)
      #expect(geometry.blockCount(for: last) == last / geometry.blockSize + 1)
      #expect(geometry.blockCount(for: .max) == UInt64.max / geometry.blockSize + 1)
      #expect(geometry.roundedUp(last) == last + 1)
      let split = geometry.split(1..<last, diskSize: last)
      #expect(split.body == 1..<geometry.blockCount(for: last))
      #expect(split.tail.isEmpty)
    }
  }

  @Test(arguments: [0, 1, 511, 4095, 4096, 4097, 130_000] as [UInt64])
  func `an odd tail counts as a whole block only when the range reaches the end`(size: UInt64) throws {
    let geometry = try #require(Geometry(blockSize: 4096))
    #expect(geometry.split(0..<size, diskSize: size).body == 0..<geometry.blockCount(for: size))
    if size % 4096 != 0 {
      let short = geometry.split(0..<size - 1, diskSize: size)
      #expect(short.body == 0..<size / 4096)
      #expect(short.head.count + short.tail.count == (size - 1) % 4096)
    }
  }
}
