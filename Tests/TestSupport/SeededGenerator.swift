// Random numbers that are the same whenever the seed is. (Tests/Soak and Tests/Benchmarks have links to this file.)

import Glibc

/// SplitMix64.
package struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    return Self.mix(state)
  }

  /// A number that looks like chance and follows from another one.
  package static func mix(_ value: UInt64) -> UInt64 {
    var mixed = value
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

/// The seed of this run's random tests: of COWMOUNT_TEST_SEED, else a new one. Failures print it.
package let testSeed: UInt64 =
  getenv("COWMOUNT_TEST_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0...0xFFFF_FFFF)
