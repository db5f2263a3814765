// The block map against an array of states: random programs, and threads that change blocks sharing a word.

import TestSupport
import Testing

@testable import CopyOnWrite

@Suite struct BlockMapModelTests {
  private static let page = BlockMap.blocksPerPage

  /// A place worth hitting: anywhere, or next to the edge of a word or page.
  private func place(below limit: UInt64, using generator: inout SeededGenerator) -> UInt64 {
    let anywhere = UInt64.random(in: 0..<limit, using: &generator)
    let unit: UInt64 = [1, BlockMap.blocksPerWord, Self.page].randomElement(using: &generator) ?? 1
    let edge = anywhere / unit * unit + UInt64.random(in: 0...2, using: &generator)
    return min(edge > 0 && Bool.random(using: &generator) ? edge - 1 : edge, limit - 1)
  }

  /// With pages of the kernel that are smaller than, as large as, or larger than the map's own; the largest are never whole.
  @Test(arguments: [4096, 16384, 65536, 1 << 30])
  func `random programs leave the same states as an array of them`(pageSize: Int) throws {
    for round in 0..<8 as Range<UInt64> {
      let seed = testSeed &+ round
      var generator = SeededGenerator(seed: seed)
      let limit = UInt64.random(in: 1...(round % 2 == 0 ? 4 : 20) * Self.page, using: &generator)
      let map = try BlockMap(capacity: limit, pageSize: pageSize)
      try map.makeAccessible(limit)
      var model = [BlockState](repeating: .unallocated, count: Int(limit))
      for step in 0..<60 {
        let first = place(below: limit, using: &generator)
        let end = place(below: limit, using: &generator) + 1
        if first < end, step % 8 != 7 {
          let state = BlockState.allCases.randomElement(using: &generator) ?? .zero
          map.set(first..<end, to: state)
          model.replaceSubrange(
            Int(first)..<Int(end), with: repeatElement(state, count: Int(end - first)))
        } else if step % 8 == 7 {
          map.clear(from: first, limit: limit)
          model.replaceSubrange(
            Int(first)..<Int(limit), with: repeatElement(.unallocated, count: Int(limit - first)))
        }
        let from = place(below: limit, using: &generator)
        let to = UInt64.random(in: from + 1...limit, using: &generator)
        let expected = naiveRun(in: model, at: Int(from), limit: Int(to))
        #expect(map.run(at: from, limit: to) == expected, "seed \(seed), step \(step)")
        #expect(map.state(of: from) == model[Int(from)], "seed \(seed), step \(step)")
      }
      let allocated = model.count { $0 == .allocated }
      #expect(map.allocated == UInt64(allocated), "seed \(seed)")
      #expect(map.cached == UInt64(model.count { $0 == .cached }), "seed \(seed)")
      try #require(runs(of: map, limit: limit) == runs(of: model), "seed \(seed)")
    }
  }

  private func naiveRun(in model: [BlockState], at first: Int, limit: Int) -> BlockRun {
    let state = model[first]
    return BlockRun(state: state, end: UInt64(model[first..<limit].firstIndex { $0 != state } ?? limit))
  }

  private func runs(of map: borrowing BlockMap, limit: UInt64) -> [BlockRun] {
    var result: [BlockRun] = []
    var block: UInt64 = 0
    while block < limit {
      let run = map.run(at: block, limit: limit)
      result.append(run)
      block = run.end
    }
    return result
  }

  private func runs(of model: [BlockState]) -> [BlockRun] {
    var result: [BlockRun] = []
    var block = 0
    while block < model.count {
      let run = naiveRun(in: model, at: block, limit: model.count)
      result.append(run)
      block = Int(run.end)
    }
    return result
  }

  /// A map that threads can share.
  private final class SharedMap: Sendable {
    let map: BlockMap

    init(_ count: UInt64) throws {
      map = try BlockMap(capacity: count)
      try map.makeAccessible(count)
    }
  }

  @Test func `threads that change single blocks of one word lose no change`() throws {
    let shared = try SharedMap(BlockMap.blocksPerWord)
    try concurrently(4) { index in
      let block = UInt64(index)
      for round in 0..<100_000 {
        let state: BlockState = round % 2 == 0 ? .allocated : .zero
        shared.map.set(block..<block + 1, to: state)
        if shared.map.state(of: block) != state {
          throw Violation(description: "block \(block) is not \(state) in round \(round)")
        }
      }
    }
    #expect(shared.map.allocated == 0)
  }

  @Test func `threads that own every fourth block of the same words do not disturb each other`() throws {
    let count: UInt64 = 4 * BlockMap.blocksPerWord
    let shared = try SharedMap(count)
    try concurrently(4) { index in
      var generator = SeededGenerator(seed: UInt64(index))
      for _ in 0..<300 {
        for block in stride(from: UInt64(index), to: count, by: 4) {
          let state = BlockState.allCases.randomElement(using: &generator) ?? .zero
          shared.map.set(block..<block + 1, to: state)
          try check(shared.map.state(of: block) == state, "block \(block) is not \(state)")
        }
      }
      for block in stride(from: UInt64(index), to: count, by: 4) {
        shared.map.set(block..<block + 1, to: index % 2 == 0 ? .allocated : .zero)
      }
    }
    for block in 0..<count {
      #expect(shared.map.state(of: block) == (block % 2 == 0 ? .allocated : .zero))
    }
    #expect(shared.map.allocated == count / 2)
  }
}
