// XXH64 (RFC 8878 names it for checksums; the algorithm is in xxHash's doc/xxhash_spec.md), without a seed. libzstd has
// one, but keeps it to itself.

enum XXHash64 {
  private static let primes: (UInt64, UInt64, UInt64, UInt64, UInt64) = (
    0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5
  )

  /// The hash of all of `bytes`.
  static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    var place = 0
    var hash = primes.4
    if bytes.count >= 32 {
      var lanes = (primes.0 &+ primes.1, primes.1, UInt64(0), 0 &- primes.0)
      while place + 32 <= bytes.count {
        lanes.0 = round(lanes.0, word(bytes, place))
        lanes.1 = round(lanes.1, word(bytes, place + 8))
        lanes.2 = round(lanes.2, word(bytes, place + 16))
        lanes.3 = round(lanes.3, word(bytes, place + 24))
        place += 32
      }
      hash = rotate(lanes.0, 1) &+ rotate(lanes.1, 7) &+ rotate(lanes.2, 12) &+ rotate(lanes.3, 18)
      for lane in [lanes.0, lanes.1, lanes.2, lanes.3] { hash = (hash ^ round(0, lane)) &* primes.0 &+ primes.3 }
    }
    hash = hash &+ UInt64(bytes.count)
    while place + 8 <= bytes.count {
      hash = rotate(hash ^ round(0, word(bytes, place)), 27) &* primes.0 &+ primes.3
      place += 8
    }
    if place + 4 <= bytes.count {
      let half = UInt64(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt32.self)))
      hash = rotate(hash ^ (half &* primes.0), 23) &* primes.1 &+ primes.2
      place += 4
    }
    while place < bytes.count {
      hash = rotate(hash ^ (UInt64(bytes[place]) &* primes.4), 11) &* primes.0
      place += 1
    }
    hash = (hash ^ (hash >> 33)) &* primes.1
    hash = (hash ^ (hash >> 29)) &* primes.2
    return hash ^ (hash >> 32)
  }

  @inline(__always)
  private static func word(_ bytes: UnsafeRawBufferPointer, _ place: Int) -> UInt64 {
    UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self))
  }

  @inline(__always)
  private static func round(_ lane: UInt64, _ word: UInt64) -> UInt64 {
    rotate(lane &+ word &* primes.1, 31) &* primes.0
  }

  @inline(__always)
  private static func rotate(_ word: UInt64, _ bits: UInt64) -> UInt64 { word << bits | word >> (64 - bits) }
}
