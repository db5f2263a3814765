// Random numbers that follow from a seed, and bytes that follow from a seed and their place.

typealias Randomness = SeededGenerator

extension SeededGenerator {
  mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &self) }

  mutating func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &self) < probability }

  mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }

  /// Another seed for each use of one.
  static func derive(_ seed: UInt64, _ use: UInt64) -> UInt64 { mix(seed &+ mix(use &+ 0x5EED)) }
}

/// Content that tells its place. Never zero, so that zeros are always a hole or a loss.
enum Pattern {
  static func fill(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int, seed: UInt64) {
    var index = 0
    while index < buffer.count {
      let place = offset + index
      let word = Randomness.mix(UInt64(place / 8) &+ seed) | 0x0101_0101_0101_0101
      var value = word.littleEndian
      withUnsafeBytes(of: &value) { bytes in
        let skipped = place % 8
        let count = min(8 - skipped, buffer.count - index)
        UnsafeMutableRawBufferPointer(rebasing: buffer[index..<index + count])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[skipped..<skipped + count]))
        index += count
      }
    }
  }
}
