// The account of what came of a read, against a set of bytes.

import Testing

@testable import NbdImages

@Suite struct NbdChunksTests {
  /// All ways to answer a read of four bytes in up to four parts.
  @Test func anyParts() {
    let ranges = (0..<4).flatMap { lower in (lower + 1...4).map { UInt64(lower) + 10..<UInt64($0) + 10 } }
    var chunks = NbdChunks()
    func go(_ parts: [Range<UInt64>]) {
      var seen: Set<UInt64> = []
      chunks.begin(10..<14)
      var isRight = true
      for part in parts {
        let isNew = seen.isDisjoint(with: part)
        let isTaken = chunks.take(part.lowerBound, count: part.count)
        #expect(isTaken == isNew, "\(parts)")
        guard isNew else {
          isRight = false
          break
        }
        seen.formUnion(part)
      }
      if isRight { #expect(chunks.areComplete == (seen.count == 4), "\(parts)") }
      guard isRight, parts.count < 4 else { return }
      for next in ranges { go(parts + [next]) }
    }
    go([])
  }

  @Test func partsBeyondWhatWasAskedFor() {
    var chunks = NbdChunks()
    chunks.begin(10..<14)
    for (offset, count) in [(9, 1), (13, 2), (14, 1), (.max, 1), (.max, .max)] as [(UInt64, Int)] {
      let isTaken = chunks.take(offset, count: count)
      #expect(!isTaken)
    }
    #expect(!chunks.areComplete)
  }

  @Test func gapsAreLimited() {
    var chunks = NbdChunks()
    chunks.begin(0..<1 << 20)
    let limit = UInt64(NbdChunks.mostIslands)
    for number in 0...limit {
      let isTaken = chunks.take(1 + 2 * number, count: 1)
      #expect(isTaken == (number < limit))
    }
  }
}
