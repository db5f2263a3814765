// Where the blocks of a compressed file are: which bytes of the image each one has, and which bytes of the file it is made
// of. Filled once from a format's index, then only looked at.

/// The blocks of a compressed file in the order of the image's bytes, without gaps. None of them is empty.
struct BlockTable: Sendable {
  /// A piece of the image that is compressed by itself.
  struct Block: Equatable, Sendable {
    /// Its place in the table.
    let number: Int
    /// Its first byte in the image.
    let start: UInt64
    /// How many bytes of the image it has.
    let count: UInt64
    /// Its first byte in the file.
    let place: UInt64
    /// How many bytes of the file it takes.
    let length: UInt64
    /// What the format has to know of it besides: the kind of a check, or its value.
    let detail: UInt64
  }

  private struct Entry {
    let start: UInt64
    let place: UInt64
    let length: UInt64
    let detail: UInt64
  }

  private var entries: [Entry] = []

  /// Bytes that the blocks have together: the size of the image.
  private(set) var size: UInt64 = 0

  /// Bytes of the largest block.
  private(set) var largest: UInt64 = 0

  /// How many there are.
  var count: Int { entries.count }

  /// Makes room for so many blocks at once. Only for numbers that are known to be true.
  mutating func reserve(_ count: Int) { entries.reserveCapacity(count) }

  /// Adds a block behind the others. An empty one is left out.
  ///
  /// - Returns: false where the image would be larger than a file can be.
  mutating func append(count: UInt64, place: UInt64, length: UInt64, detail: UInt64 = 0) -> Bool {
    let (newSize, overflow) = size.addingReportingOverflow(count)
    guard !overflow, newSize <= UInt64(Int64.max) else { return false }
    guard count > 0 else { return true }
    entries.append(Entry(start: size, place: place, length: length, detail: detail))
    size = newSize
    largest = max(largest, count)
    return true
  }

  subscript(number: Int) -> Block {
    let entry = entries[number]
    let end = number + 1 < entries.count ? entries[number + 1].start : size
    return Block(
      number: number, start: entry.start, count: end - entry.start, place: entry.place, length: entry.length,
      detail: entry.detail)
  }

  /// The block that has the byte at `offset`, which must lie below ``size``.
  func block(at offset: UInt64) -> Block {
    precondition(offset < size)
    // The last one that starts at the offset or before.
    var low = 0
    var high = entries.count
    while high - low > 1 {
      let middle = low + (high - low) / 2
      if entries[middle].start <= offset { low = middle } else { high = middle }
    }
    return self[low]
  }
}
