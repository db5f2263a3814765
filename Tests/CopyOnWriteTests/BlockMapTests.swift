// The block map where its parts meet: words of 32 blocks, pages of 16384.

import SystemPackage
import Testing

@testable import CopyOnWrite

@Suite struct BlockMapTests {
  private let word = BlockMap.blocksPerWord
  private let page = BlockMap.blocksPerPage

  private func makeMap(_ count: UInt64) throws -> BlockMap {
    let map = try BlockMap(capacity: count)
    try map.makeAccessible(count)
    return map
  }

  @Test func `a new map is unallocated in one run`() throws {
    let map = try makeMap(3 * page)
    #expect(map.run(at: 0, limit: 3 * page) == BlockRun(state: .unallocated, end: 3 * page))
    #expect(map.run(at: page + 5, limit: page + 6) == BlockRun(state: .unallocated, end: page + 6))
    #expect(map.allocated == 0)
  }

  @Test(arguments: [BlockState.allocated, .zero, .cached])
  func `a state covers exactly the blocks it was set for, at every edge of words`(state: BlockState) throws {
    for first in 0..<2 * word {
      for end in first + 1...3 * word {
        let map = try makeMap(4 * word)
        map.set(first..<end, to: state)
        if first > 0 { #expect(map.run(at: 0, limit: 4 * word) == BlockRun(state: .unallocated, end: first)) }
        #expect(map.run(at: first, limit: 4 * word) == BlockRun(state: state, end: end))
        #expect(map.run(at: end, limit: 4 * word) == BlockRun(state: .unallocated, end: 4 * word))
        #expect(map.run(at: end - 1, limit: end) == BlockRun(state: state, end: end))
        #expect(map.allocated == (state == .allocated ? end - first : 0))
        #expect(map.cached == (state == .cached ? end - first : 0))
      }
    }
  }

  @Test func `a run stops at the limit, wherever in a word or page that is`() throws {
    let map = try makeMap(2 * page)
    map.set(0..<2 * page, to: .zero)
    for limit in [1, word - 1, word, word + 1, page - 1, page, page + 1, 2 * page - 1, 2 * page] {
      #expect(map.run(at: 0, limit: limit) == BlockRun(state: .zero, end: limit))
      #expect(map.run(at: limit - 1, limit: limit) == BlockRun(state: .zero, end: limit))
    }
  }

  @Test func `neighbours in a word keep their states when one changes to any other`() throws {
    for before in BlockState.allCases {
      for after in BlockState.allCases {
        let map = try makeMap(word)
        map.set(0..<word, to: before)
        map.set(7..<8, to: after)
        for block in 0..<word { #expect(map.state(of: block) == (block == 7 ? after : before)) }
        let neighbours = before == .allocated ? word - 1 : 0
        #expect(map.allocated == neighbours + (after == .allocated ? 1 : 0))
        #expect(map.cached == (before == .cached ? word - 1 : 0) + (after == .cached ? 1 : 0))
      }
    }
  }

  @Test func `runs go over pages that were never touched, and stop where one was`() throws {
    // More than 64 pages, so that the scan leaves the first word of touched bits.
    let pages: UInt64 = 200
    let map = try makeMap(pages * page)
    for touched in [page - 1, page, 63 * page, 64 * page - 1, 64 * page, 130 * page + 77, pages * page - 1] {
      map.set(touched..<touched + 1, to: .allocated)
      #expect(map.run(at: 0, limit: pages * page) == BlockRun(state: .unallocated, end: touched))
      #expect(map.run(at: touched, limit: pages * page) == BlockRun(state: .allocated, end: touched + 1))
      if touched + 1 < pages * page {
        let after = map.run(at: touched + 1, limit: pages * page)
        #expect(after == BlockRun(state: .unallocated, end: pages * page))
      }
      map.set(touched..<touched + 1, to: .unallocated)
      #expect(map.run(at: 0, limit: pages * page) == BlockRun(state: .unallocated, end: pages * page))
    }
  }

  @Test func `a run of allocated blocks ends where an untouched page begins`() throws {
    let map = try makeMap(4 * page)
    map.set(page / 2..<2 * page, to: .allocated)
    #expect(map.run(at: page, limit: 4 * page) == BlockRun(state: .allocated, end: 2 * page))
    #expect(map.run(at: 2 * page, limit: 4 * page) == BlockRun(state: .unallocated, end: 4 * page))
  }

  @Test func `clearing drops everything from its first block on and nothing before`() throws {
    let limit = 3 * page + 100
    for first in [0, 1, word, word + 1, page - 1, page, page + 1, 2 * page, 3 * page, 3 * page + 99, limit] {
      let map = try makeMap(limit)
      map.set(0..<limit, to: .allocated)
      map.set(2 * page..<2 * page + 10, to: .zero)
      let before = (0..<first).count { map.state(of: $0) == .allocated }
      map.clear(from: first, limit: limit)
      #expect(map.allocated == before)
      if first > 0 { #expect(map.state(of: first - 1) != .unallocated) }
      if first < limit { #expect(map.run(at: first, limit: limit) == BlockRun(state: .unallocated, end: limit)) }
      // What was cleared can be used again.
      if first < limit {
        map.set(limit - 1..<limit, to: .zero)
        #expect(map.state(of: limit - 1) == .zero)
      }
    }
  }

  @Test func `clearing passes over pages that were never touched`() throws {
    let map = try makeMap(200 * page)
    map.set(150 * page + 3..<150 * page + 4, to: .allocated)
    map.set(3..<4, to: .allocated)
    map.clear(from: 10, limit: 200 * page)
    #expect(map.allocated == 1)
    #expect(map.run(at: 4, limit: 200 * page) == BlockRun(state: .unallocated, end: 200 * page))
  }

  @Test func `the map grows up to its capacity, keeping what it has`() throws {
    let map = try BlockMap(capacity: 10 * page)
    try map.makeAccessible(1)
    map.set(0..<1, to: .allocated)
    try map.makeAccessible(10 * page)
    #expect(map.run(at: 0, limit: 10 * page) == BlockRun(state: .allocated, end: 1))
    map.set(10 * page - 1..<10 * page, to: .allocated)
    #expect(map.run(at: 1, limit: 10 * page) == BlockRun(state: .unallocated, end: 10 * page - 1))
    // Less is no shrinking: it is accessible already.
    try map.makeAccessible(1)
    #expect(map.state(of: 10 * page - 1) == .allocated)
  }

  @Test func `more than the capacity is too large, and an empty map is possible`() throws {
    let map = try BlockMap(capacity: 0)
    try map.makeAccessible(0)
    #expect(map.capacity == page)
    let caught = #expect(throws: Errno.self) { try map.makeAccessible(page + 1) }
    #expect(caught == .fileTooLarge)
  }
}
