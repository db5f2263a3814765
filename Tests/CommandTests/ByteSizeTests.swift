// Sizes as users write them: what is taken, what is refused, and how they are shown.

import Testing

@testable import cowmount

@Suite struct ByteSizeTests {
  private static let taken: [(String, UInt64)] = [
    ("0", 0), ("1", 1), ("511", 511), ("4096", 4096), ("007", 7),
    ("1k", 1 << 10), ("4K", 4 << 10), ("64k", 64 << 10), ("2m", 2 << 20), ("20G", 20 << 30), ("15T", 15 << 40),
    ("3P", 3 << 50), ("7E", 7 << 60), ("0E", 0), ("64KiB", 64 << 10), ("2mib", 2 << 20), ("20GiB", 20 << 30),
    ("9223372036854775807", UInt64(Int64.max)),
  ]

  @Test(arguments: taken)
  func takes(_ text: String, _ bytes: UInt64) {
    #expect(ByteSize(argument: text)?.bytes == bytes)
  }

  private static let refused = [
    "", "k", "-1", "+1", "1.5G", "1 k", " 1", "1 ", "1kk", "k1", "1kB", "1iB", "1B", "iB", "1kiBiB", "0x10",
    "1e3", "one", "٣",
    // A file cannot be longer than a signed 64-bit number says.
    "9223372036854775808", "8E", "16E", "18446744073709551616", "9007199254740992k",
  ]

  @Test(arguments: refused)
  func refuses(_ text: String) {
    #expect(ByteSize(argument: text) == nil)
  }

  private static let shown: [(UInt64, String)] = [
    (0, "0"), (1, "1"), (1023, "1023"), (1024, "1k"), (1536, "1536"), (4096, "4k"), (1 << 20, "1M"),
    ((1 << 20) + 1024, "1025k"), (20 << 30, "20G"), (15 << 40, "15T"), (1 << 50, "1P"), (1 << 60, "1E"),
  ]

  @Test(arguments: shown)
  func shows(_ bytes: UInt64, _ text: String) {
    #expect(ByteSize(bytes: bytes).description == text)
  }

  /// What help and messages show can be typed in again.
  @Test func takesWhatItShows() {
    for shift in 0..<63 {
      for neighbour in [-1, 0, 1] {
        let size = ByteSize(bytes: UInt64((1 << shift) + neighbour))
        #expect(ByteSize(argument: size.description) == size)
      }
    }
  }
}
