// What a disk is to do, in the plainest form: an array of its bytes, and a state for each block by the state table that
// heads CowDisk.swift. Nothing here is shared with the engine but the names of the states; that of copies is not used, as
// they are not to be noticed.

@testable import CopyOnWrite

/// A disk as an array.
struct DiskModel {
  private let blockSize: Int
  private let baseHoles: [Range<Int>]
  private let baseSize: Int
  private var visibleBase: Int
  /// States of the disk's blocks; the last may be a part of one.
  private var states: [BlockState]
  private(set) var bytes: [UInt8]

  var size: Int { bytes.count }

  /// Bytes of blocks that the overlay has.
  var allocatedBytes: UInt64 { UInt64(states.count { $0 == .allocated } * blockSize) }

  /// The most of them while the verb was under way that made this of `before`.
  func mostAllocatedBytes(since before: DiskModel) -> UInt64 {
    let all = before.states + repeatElement(.unallocated, count: max(0, states.count - before.states.count))
    let either = all.indices.count { all[$0] == .allocated || $0 < states.count && states[$0] == .allocated }
    return UInt64(either * blockSize)
  }

  /// Creates the model of a disk that nothing was written to.
  init(base: [UInt8], holes: [Range<Int>], blockSize: Int) {
    self.blockSize = blockSize
    baseHoles = holes
    baseSize = base.count
    visibleBase = base.count
    bytes = base
    states = []
    fitStates()
  }

  private mutating func fitStates() {
    let count = (size + blockSize - 1) / blockSize
    states.removeLast(max(0, states.count - count))
    states.append(contentsOf: repeatElement(.unallocated, count: count - states.count))
  }

  // MARK: Verbs

  mutating func write(_ new: [UInt8], at offset: Int) {
    guard !new.isEmpty else { return }
    if offset + new.count > size { resize(to: offset + new.count) }
    copy(new[...], into: &bytes, at: offset)
    for block in offset / blockSize...(offset + new.count - 1) / blockSize { states[block] = .allocated }
  }

  /// As ``write(_:at:)``, where blocks that are written as a whole with zeros are zeroed instead.
  mutating func writeDetectingZeroes(_ new: [UInt8], at offset: Int) {
    guard !new.isEmpty else { return }
    if offset + new.count > size { resize(to: offset + new.count) }
    var start = offset
    while start < offset + new.count {
      let whole = start / blockSize * blockSize..<min((start / blockSize + 1) * blockSize, size)
      let part = whole.clamped(to: offset..<offset + new.count)
      let bytes = Array(new[part.lowerBound - offset..<part.upperBound - offset])
      if part == whole, difference(bytes, zeros(bytes.count)) == nil {
        zero(part)
      } else {
        write(bytes, at: part.lowerBound)
      }
      start = part.upperBound
    }
  }

  mutating func zero(_ range: Range<Int>) {
    guard !range.isEmpty else { return }
    copy(zeros(range.count)[...], into: &bytes, at: range.lowerBound)
    for block in range.lowerBound / blockSize...(range.upperBound - 1) / blockSize {
      let whole = block * blockSize..<min((block + 1) * blockSize, size)
      let part = range.clamped(to: whole)
      switch states[block] {
      case .allocated: if part == whole { states[block] = .zero }
      case .zero: break
      case .unallocated, .cached: if baseHasData(in: part) { states[block] = part == whole ? .zero : .allocated }
      }
    }
  }

  mutating func resize(to newSize: Int) {
    if newSize < size {
      bytes.removeLast(size - newSize)
      visibleBase = min(visibleBase, newSize)
    } else {
      bytes += zeros(newSize - size)
    }
    fitStates()
  }

  // MARK: Where data is

  private func baseHasData(in range: Range<Int>) -> Bool {
    let shown = range.clamped(to: 0..<max(visibleBase, range.lowerBound))
    guard !shown.isEmpty, shown.lowerBound < visibleBase else { return false }
    return !baseHoles.contains { $0.clamped(to: shown) == shown }
  }

  private func isData(_ offset: Int) -> Bool {
    switch states[offset / blockSize] {
    case .allocated: true
    case .zero: false
    case .unallocated, .cached: offset < visibleBase && !baseHoles.contains { $0.contains(offset) }
    }
  }

  // MARK: What was changed

  /// What became of a byte of the base: whether it is zeroed, else written; nil where it is what it was.
  private func isZeroed(_ offset: Int) -> Bool? {
    switch states[offset / blockSize] {
    case .allocated: false
    case .zero: true
    case .unallocated, .cached: offset >= visibleBase && offset < baseSize ? true : nil
    }
  }

  /// The runs of bytes that were changed in one way.
  var changes: [CowDisk.Change] {
    var changes: [CowDisk.Change] = []
    var position = 0
    while position < size {
      let kind = isZeroed(position)
      let start = position
      while position < size, isZeroed(position) == kind {
        position = min(nextBorder(after: position), baseSize > position ? baseSize : .max)
      }
      if let kind {
        changes.append(CowDisk.Change(bytes: UInt64(start)..<UInt64(min(position, size)), isZeroed: kind))
      }
    }
    return changes
  }

  /// The extent that a byte is in.
  func extent(at offset: Int) -> Extent {
    let kind = isData(offset)
    var position = offset
    while position < size, isData(position) == kind { position = nextBorder(after: position) }
    return Extent(isData: kind, end: UInt64(min(position, size)))
  }

  /// The next place where anything may change.
  private func nextBorder(after offset: Int) -> Int {
    var next = (offset / blockSize + 1) * blockSize
    for border in baseHoles.flatMap({ [$0.lowerBound, $0.upperBound] }) + [visibleBase] where border > offset {
      next = min(next, border)
    }
    return next
  }
}
