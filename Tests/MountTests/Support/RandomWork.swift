// Reads and writes of several threads at random places, compared with a shadow in memory.

import Glibc
import TestSupport

/// Works on a mounted file of this content with several threads, each in a part of its own, then compares all of it. Some
/// reads are direct, past the kernel's cache.
func workAtRandom(_ mount: Mount, content: [UInt8], threads: Int = 4, rounds: Int = 80) throws {
  try concurrently(threads) { part in
    let range = content.count / threads * part..<content.count / threads * (part + 1)
    var shadow = Array(content[range])
    var random = SeededGenerator(seed: UInt64(part))
    let file = try mount.open()
    let direct = try mount.open(O_RDONLY | O_DIRECT)
    for round in 0..<rounds {
      let start = Int.random(in: 0..<shadow.count, using: &random)
      let count = min(Int.random(in: 1...(round % 8 == 0 ? 1 << 20 : 20_000), using: &random), shadow.count - start)
      switch Int.random(in: 0..<4, using: &random) {
      case 0:
        // Of whole sectors.
        let first = (range.lowerBound + start + 511) / 512 * 512 - range.lowerBound
        let whole = (count - (first - start)) / 512 * 512
        guard whole > 0 else { continue }
        try WrongBytes.check(
          direct, at: range.lowerBound + first, holds: Array(shadow[first..<first + whole]), "direct, thread \(part)")
      case 1:
        try WrongBytes.check(
          file, at: range.lowerBound + start, holds: Array(shadow[start..<start + count]), "thread \(part)")
      default:
        let bytes = Pattern(seed: UInt64(round)).bytes(count, at: start)
        try file.write(bytes, at: range.lowerBound + start)
        shadow.replaceSubrange(start..<start + count, with: bytes)
      }
    }
    try file.sync()
    for start in stride(from: 0, to: shadow.count, by: 1 << 20) {
      let end = min(start + 1 << 20, shadow.count)
      try WrongBytes.check(file, at: range.lowerBound + start, holds: Array(shadow[start..<end]), "thread \(part)")
    }
  }
}
