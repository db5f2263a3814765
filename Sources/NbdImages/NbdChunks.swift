// The parts that a server answers a read in. It may send them in any order, but each byte once. libnbd counts the bytes that
// came, and not which: of a server that sends one half twice, the other half would be whatever the reader's memory held.

/// Which bytes of a read came.
struct NbdChunks {
  private var wanted: Range<UInt64> = 0..<0
  /// What came from the beginning on without a gap.
  private var end: UInt64 = 0
  /// What came beyond a gap, in its order; neighbours are one.
  private var islands: [Range<UInt64>] = []

  /// Most gaps that are kept account of. Servers send parts as they have them, in a few pieces; who wants to cost time sends
  /// single bytes.
  static let mostIslands = 1024

  /// Takes account of another read.
  mutating func begin(_ range: Range<UInt64>) {
    wanted = range
    end = range.lowerBound
    islands.removeAll(keepingCapacity: true)
  }

  /// Takes account of a part.
  ///
  /// - Returns: false where it has bytes that came before or were not asked for, or there are too many gaps.
  mutating func take(_ offset: UInt64, count: Int) -> Bool {
    let (upper, overflow) = offset.addingReportingOverflow(UInt64(count))
    guard !overflow, offset >= end, upper <= wanted.upperBound else { return false }
    if offset == end {
      guard islands.first.map({ upper <= $0.lowerBound }) ?? true else { return false }
      end = upper
      if let first = islands.first, first.lowerBound == end {
        end = first.upperBound
        islands.removeFirst()
      }
      return true
    }
    let index = index(of: offset)
    guard index == islands.count || upper <= islands[index].lowerBound else { return false }
    guard index == 0 || islands[index - 1].upperBound <= offset else { return false }
    var island = offset..<upper
    var replaced = index..<index
    if index < islands.count, islands[index].lowerBound == upper {
      island = island.lowerBound..<islands[index].upperBound
      replaced = replaced.lowerBound..<index + 1
    }
    if index > 0, islands[index - 1].upperBound == offset {
      island = islands[index - 1].lowerBound..<island.upperBound
      replaced = index - 1..<replaced.upperBound
    }
    islands.replaceSubrange(replaced, with: CollectionOfOne(island))
    return islands.count <= Self.mostIslands
  }

  /// The first that begins beyond a byte.
  private func index(of offset: UInt64) -> Int {
    var (low, high) = (0, islands.count)
    while low < high {
      let middle = (low + high) / 2
      if islands[middle].lowerBound <= offset { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Whether all came.
  var areComplete: Bool { end == wanted.upperBound }
}
