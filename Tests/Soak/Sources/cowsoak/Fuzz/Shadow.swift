// What one owner's bytes must be. Only the owner writes them, so they are known exactly, whatever others do beside them,
// but for those that a write without space has left in doubt.

internal import Glibc

enum Bytes {
  static func areEqual(_ one: UnsafeMutableRawBufferPointer, _ other: UnsafeMutableRawBufferPointer) -> Bool {
    guard one.count == other.count else { return false }
    guard let first = one.baseAddress, let second = other.baseAddress else { return true }
    return memcmp(first, second, one.count) == 0
  }

  static func areZero(_ bytes: UnsafeMutableRawBufferPointer) -> Bool {
    guard let start = bytes.baseAddress, bytes.count > 0 else { return true }
    return bytes[0] == 0 && memcmp(start, start + 1, bytes.count - 1) == 0
  }
}

final class Shadow {
  /// The bytes of a stretch that is this owner's.
  private final class Stretch {
    let bytes: Buffer
    /// Which bytes are in doubt, where any are.
    var doubt: [Bool]?

    init(count: Int) { bytes = Buffer(count: count) }
  }

  private let configuration: Configuration
  private let owner: Int
  private var stretches: [Int: Stretch] = [:]
  /// Bytes of the base that no cut has hidden.
  private var visibleBase: Int
  private(set) var size: Int

  init(_ configuration: Configuration, owner: Int) {
    self.configuration = configuration
    self.owner = owner
    visibleBase = configuration.size
    size = configuration.size
  }

  private var granule: Int { configuration.granule }

  // MARK: What is owned

  /// How many stretches are this owner's at the present size.
  var count: Int {
    let all = (size + granule - 1) / granule
    return max(0, (all - owner + configuration.owners - 1) / configuration.owners)
  }

  /// The bytes of the stretch with this number.
  func range(of number: Int) -> Range<Int> {
    let start = (number * configuration.owners + owner) * granule
    return start..<min(start + granule, size)
  }

  /// Whether a range lies within one stretch.
  private func stretch(with range: Range<Int>) -> (stretch: Stretch, start: Int) {
    let index = range.lowerBound / granule
    precondition(index % configuration.owners == owner && range.upperBound <= min(size, (index + 1) * granule))
    if let known = stretches[index] { return (known, index * granule) }
    let stretch = Stretch(count: granule)
    let start = index * granule
    let shown = max(0, min(granule, visibleBase - start))
    if shown > 0 { configuration.base.fill(stretch.bytes.prefix(shown), at: start) }
    stretches[index] = stretch
    return (stretch, start)
  }

  private func bytes(_ range: Range<Int>) -> UnsafeMutableRawBufferPointer {
    let (stretch, start) = stretch(with: range)
    return UnsafeMutableRawBufferPointer(
      rebasing: stretch.bytes.bytes[range.lowerBound - start..<range.upperBound - start])
  }

  // MARK: What happens

  func write(_ new: UnsafeMutableRawBufferPointer, at offset: Int) {
    bytes(offset..<offset + new.count).copyMemory(from: UnsafeRawBufferPointer(new))
    settle(offset..<offset + new.count)
  }

  func zero(_ range: Range<Int>) {
    bytes(range).initializeMemory(as: UInt8.self, repeating: 0)
    settle(range)
  }

  private func settle(_ range: Range<Int>) {
    let (stretch, start) = stretch(with: range)
    for index in range where stretch.doubt != nil { stretch.doubt?[index - start] = false }
  }

  /// From now on nobody knows what these bytes are.
  func doubt(_ range: Range<Int>) {
    let (stretch, start) = stretch(with: range)
    if stretch.doubt == nil { stretch.doubt = [Bool](repeating: false, count: granule) }
    for index in range { stretch.doubt?[index - start] = true }
  }

  /// The file was cut to `least` bytes and then became `size` bytes long.
  func resize(cutTo least: Int, size: Int) {
    if least < self.size {
      visibleBase = min(visibleBase, least)
      for (index, stretch) in stretches where (index + 1) * granule > least {
        let from = max(0, least - index * granule)
        let gone = UnsafeMutableRawBufferPointer(rebasing: stretch.bytes.bytes[from...])
        gone.initializeMemory(as: UInt8.self, repeating: 0)
        for position in from..<granule where stretch.doubt != nil { stretch.doubt?[position] = false }
      }
    }
    self.size = size
  }

  // MARK: What must be

  /// Where the bytes found at `offset` are not what they must be, in words.
  func difference(_ found: UnsafeMutableRawBufferPointer, at offset: Int) -> String? {
    let range = offset..<offset + found.count
    let expected = bytes(range)
    if Bytes.areEqual(found, expected) { return nil }
    let (stretch, start) = stretch(with: range)
    let wrong = range.filter {
      found[$0 - offset] != expected[$0 - offset] && !(stretch.doubt?[$0 - start] ?? false)
    }
    guard let first = wrong.first, let last = wrong.last else { return nil }
    let shown = wrong.prefix(8).map { "\(found[$0 - offset]) for \(expected[$0 - offset])" }.joined(separator: ", ")
    return "\(wrong.count) bytes wrong from \(first) to \(last): \(shown)"
  }

  /// Whether each byte found is one of two.
  func isOneOf(_ found: UnsafeMutableRawBufferPointer, _ new: UnsafeMutableRawBufferPointer, at offset: Int) -> Bool {
    let old = bytes(offset..<offset + found.count)
    let (stretch, start) = stretch(with: offset..<offset + found.count)
    return found.indices.allSatisfy {
      found[$0] == old[$0] || found[$0] == new[$0] || stretch.doubt?[offset + $0 - start] ?? false
    }
  }

  /// Whether a range may be a hole.
  func mayBeHole(_ range: Range<Int>) -> Bool {
    let found = bytes(range)
    if Bytes.areZero(found) { return true }
    let (stretch, start) = stretch(with: range)
    return range.allSatisfy { found[$0 - range.lowerBound] == 0 || stretch.doubt?[$0 - start] ?? false }
  }
}
