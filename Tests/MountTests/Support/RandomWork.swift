// Reads and writes of several threads at random places, compared with a shadow in memory.

import Glibc

/// Works on a mounted file of this content with several threads, each in a part of its own, then compares all of it.
func workAtRandom(_ mount: Mount, content: [UInt8], threads: Int = 4, rounds: Int = 80) throws {
  try onThreads(threads) { part in
    let range = content.count / threads * part..<content.count / threads * (part + 1)
    var shadow = Array(content[range])
    var random = Randomness(state: UInt64(part))
    let file = try mount.open()
    for round in 0..<rounds {
      let start = Int.random(in: 0..<shadow.count, using: &random)
      let count = min(Int.random(in: 1...(round % 8 == 0 ? 1 << 20 : 20_000), using: &random), shadow.count - start)
      if Bool.random(using: &random) {
        try WrongBytes.check(
          file, at: range.lowerBound + start, holds: Array(shadow[start..<start + count]), "thread \(part)")
      } else {
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
