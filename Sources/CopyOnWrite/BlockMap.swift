// The state of every block, two bits each, in words that readers load without a lock.
//
// The table is LazyMemory: 64 MiB of addresses per TiB at 4 KiB blocks, but only pages that were written to exist. One
// bit for each such page (`touched`) lets scans of a large and mostly untouched disk skip 16384 blocks at a time, and
// never makes them exist by looking.
//
// Whoever changes a block's bits holds the block's stripe lock (or the resize gate, exclusively). A word is shared by
// blocks of several stripes where blocks are large, hence the atomic exclusive-or: it changes the caller's bits alone.

internal import DiskIO
internal import Synchronization
internal import SystemPackage

/// Where the bytes of a block are. The low bit says whether the overlay has them.
enum BlockState: UInt64, CaseIterable, Sendable {
  /// Nothing was written: the base has them, and beyond the visible base they are zeros.
  case unallocated = 0
  /// The overlay has them, all of them.
  case allocated = 1
  /// They are zeros, wherever there may be other bytes below.
  case zero = 2
  /// Nothing was written, and the overlay has a copy of what the block would read as were it unallocated.
  case cached = 3

  /// Whether the overlay has the bytes, whoever they are from.
  var isInOverlay: Bool { rawValue & 1 == 1 }
}

/// A run of blocks of one state.
struct BlockRun: Equatable {
  let state: BlockState
  /// First block after the run.
  let end: UInt64
}

struct BlockMap: ~Copyable, @unchecked Sendable {
  // SAFETY: both tables are reserved for the map's whole life and accessible up to `capacity` blocks at all times that
  // the engine asks for a block (makeAccessible comes before the size that lets callers in is published).
  private let memory: LazyMemory
  private let touchedMemory: LazyMemory
  private let words: UnsafeMutablePointer<Atomic<UInt64>>
  private let touched: UnsafeMutablePointer<Atomic<UInt64>>

  /// Blocks that are in state `allocated`.
  let allocatedCount: Atomic<UInt64>
  /// Blocks that are in state `cached`.
  let cachedCount: Atomic<UInt64>

  /// Blocks that the reserved address space can describe.
  let capacity: UInt64

  static let blocksPerWord: UInt64 = 32
  /// What the table is counted in, whatever the pages of the kernel are.
  private static let bytesPerPage = 4096
  private static let wordsPerPage: UInt64 = 512
  static let blocksPerPage = blocksPerWord * wordsPerPage
  /// Multiplied by a state's raw value, the word in which each block has that state.
  private static let everyBlock: UInt64 = 0x5555_5555_5555_5555

  init(capacity: UInt64, pageSize: Int = LazyMemory.pageSize) throws(Errno) {
    let pages = max(1, (capacity + Self.blocksPerPage - 1) / Self.blocksPerPage)
    let touchedBytes = (Int(pages) / 64 + 1) * 8
    let memory = try LazyMemory(capacity: Int(pages) * Self.bytesPerPage, pageSize: pageSize)
    let touchedMemory = try LazyMemory(capacity: touchedBytes, pageSize: pageSize)
    try touchedMemory.makeAccessible(touchedBytes)
    words = memory.address.bindMemory(to: Atomic<UInt64>.self, capacity: Int(pages * Self.wordsPerPage))
    touched = touchedMemory.address.bindMemory(to: Atomic<UInt64>.self, capacity: touchedBytes / 8)
    self.memory = memory
    self.touchedMemory = touchedMemory
    allocatedCount = Atomic(0)
    cachedCount = Atomic(0)
    self.capacity = pages * Self.blocksPerPage
  }

  /// Makes room for `count` blocks.
  ///
  /// - Throws: `.fileTooLarge` beyond ``capacity``.
  func makeAccessible(_ count: UInt64) throws(Errno) {
    guard count <= capacity else { throw .fileTooLarge }
    let pages = (count + Self.blocksPerPage - 1) / Self.blocksPerPage
    try memory.makeAccessible(Int(pages) * Self.bytesPerPage)
  }

  // MARK: Looking

  @inline(__always)
  func state(of block: UInt64) -> BlockState {
    let word = words[Int(block / Self.blocksPerWord)].load(ordering: .acquiring)
    return Self.state(in: word, at: block % Self.blocksPerWord)
  }

  /// The longest run of one state from `block` on that ends at `limit` or before. `block` must be below `limit`.
  @inline(__always)
  func run(at block: UInt64, limit: UInt64) -> BlockRun {
    assert(block < limit && limit <= capacity)
    let index = block % Self.blocksPerWord
    let word = words[Int(block / Self.blocksPerWord)].load(ordering: .acquiring)
    let state = Self.state(in: word, at: index)
    let others = (word ^ (Self.everyBlock &* state.rawValue)) >> (index * 2)
    let length = UInt64(others.trailingZeroBitCount) / 2
    // Beyond the top of the word the shift brought in zeros: the run is then open-ended.
    guard index + length >= Self.blocksPerWord else { return BlockRun(state: state, end: min(block + length, limit)) }
    let next = block - index + Self.blocksPerWord
    return BlockRun(state: state, end: next >= limit ? limit : continuedRun(of: state, from: next, limit: limit))
  }

  /// Where a run that reaches `block`, the first of a word, ends.
  private func continuedRun(of state: BlockState, from block: UInt64, limit: UInt64) -> UInt64 {
    let pattern = Self.everyBlock &* state.rawValue
    var block = block
    while block < limit {
      if block % Self.blocksPerPage == 0, !isTouched(block / Self.blocksPerPage) {
        if state != .unallocated { return block }
        block = nextTouchedPage(after: block / Self.blocksPerPage, limit: limit) * Self.blocksPerPage
        continue
      }
      let others = words[Int(block / Self.blocksPerWord)].load(ordering: .acquiring) ^ pattern
      if others != 0 { return min(block + UInt64(others.trailingZeroBitCount) / 2, limit) }
      block += Self.blocksPerWord
    }
    return limit
  }

  private func isTouched(_ page: UInt64) -> Bool {
    touched[Int(page / 64)].load(ordering: .acquiring) >> (page % 64) & 1 == 1
  }

  /// The first page after `page`, which is touched, that is not, or `limit`.
  private func endOfTouched(from page: UInt64, limit: UInt64) -> UInt64 {
    var end = page + 1
    while end < limit, isTouched(end) { end += 1 }
    return end
  }

  /// The first touched page after `page`, or one at or after the page of `limit`.
  private func nextTouchedPage(after page: UInt64, limit: UInt64) -> UInt64 {
    var page = page + 1
    while page * Self.blocksPerPage < limit {
      let ahead = touched[Int(page / 64)].load(ordering: .acquiring) >> (page % 64)
      if ahead != 0 { return page + UInt64(ahead.trailingZeroBitCount) }
      page = (page / 64 + 1) * 64
    }
    return page
  }

  @inline(__always)
  private static func state(in word: UInt64, at index: UInt64) -> BlockState {
    switch (word >> (index * 2)) & 3 {
    case 0: .unallocated
    case 1: .allocated
    case 2: .zero
    default: .cached
    }
  }

  // MARK: Changing

  /// Publishes a state for `blocks`: who loads it afterwards sees all that was written before (release).
  ///
  /// The caller keeps everybody else from changing the state of these blocks.
  func set(_ blocks: Range<UInt64>, to state: BlockState) {
    var block = blocks.lowerBound
    while block < blocks.upperBound {
      let index = block % Self.blocksPerWord
      let count = min(Self.blocksPerWord - index, blocks.upperBound - block)
      let mask: UInt64 = (count == Self.blocksPerWord ? ~0 : (1 << (count * 2)) - 1) << (index * 2)
      touch(block / Self.blocksPerPage)
      let position = Int(block / Self.blocksPerWord)
      let before = words[position].load(ordering: .relaxed) & mask
      let after = (Self.everyBlock &* state.rawValue) & mask
      words[position].bitwiseXor(before ^ after, ordering: .acquiringAndReleasing)
      tally(before: before, after: after)
      block += count
    }
  }

  /// Makes every block from `first` on unallocated. Only under the exclusive resize gate.
  func clear(from first: UInt64, limit: UInt64) {
    guard first < limit else { return }
    let firstPage = (first + Self.blocksPerPage - 1) / Self.blocksPerPage
    let endOfPartial = min(firstPage * Self.blocksPerPage, limit)
    if first < endOfPartial, isTouched(first / Self.blocksPerPage) { set(first..<endOfPartial, to: .unallocated) }
    let lastPage = (limit + Self.blocksPerPage - 1) / Self.blocksPerPage
    guard firstPage < lastPage else { return }
    var page = isTouched(firstPage) ? firstPage : nextTouchedPage(after: firstPage, limit: limit)
    while page < lastPage {
      // Together, because the kernel's pages may be larger.
      let neighbours = page..<endOfTouched(from: page, limit: lastPage)
      for word in neighbours.lowerBound * Self.wordsPerPage..<neighbours.upperBound * Self.wordsPerPage {
        tally(before: words[Int(word)].load(ordering: .relaxed), after: 0)
      }
      memory.discard(Int(neighbours.lowerBound) * Self.bytesPerPage..<Int(neighbours.upperBound) * Self.bytesPerPage)
      for page in neighbours {
        touched[Int(page / 64)].bitwiseAnd(~(1 << (page % 64)), ordering: .acquiringAndReleasing)
      }
      page = nextTouchedPage(after: neighbours.upperBound, limit: limit)
    }
  }

  /// A page is marked before a word in it changes, so that nobody skips a change that happened before.
  @inline(__always)
  private func touch(_ page: UInt64) {
    let bit: UInt64 = 1 << (page % 64)
    if touched[Int(page / 64)].load(ordering: .relaxed) & bit == 0 {
      touched[Int(page / 64)].bitwiseOr(bit, ordering: .acquiringAndReleasing)
    }
  }

  @inline(__always)
  private func tally(before: UInt64, after: UInt64) {
    Self.adjust(allocatedCount, before: before & ~(before >> 1), after: after & ~(after >> 1))
    let (cachedBefore, cachedAfter) = (before & (before >> 1), after & (after >> 1))
    if (cachedBefore | cachedAfter) & Self.everyBlock != 0 {
      Self.adjust(cachedCount, before: cachedBefore, after: cachedAfter)
    }
  }

  /// Adds to a counter the blocks whose low bit is set in `after`, and takes off those in `before`.
  @inline(__always)
  private static func adjust(_ counter: borrowing Atomic<UInt64>, before: UInt64, after: UInt64) {
    let gained = (after & everyBlock).nonzeroBitCount
    let lost = (before & everyBlock).nonzeroBitCount
    if gained > lost { counter.add(UInt64(gained - lost), ordering: .relaxed) }
    if gained < lost { counter.subtract(UInt64(lost - gained), ordering: .relaxed) }
  }
}
