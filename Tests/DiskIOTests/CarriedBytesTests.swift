// Any name comes back as the bytes that it was.

import SystemPackage
import Testing

@testable import DiskIO

@Suite struct CarriedBytesTests {
  @Test(arguments: [
    "", "disk.img", "Größe", "日本", "e\u{301}", "\u{10FF80}", "a\u{10FFFF}b", "\u{10FFFD}", "\u{E000}",
  ])
  func text(_ text: String) {
    let bytes = Array(text.utf8)
    #expect(String(carrying: bytes).carriedBytes == bytes)
    #expect(FilePath(carriedBy: String(carrying: bytes)) == FilePath(text))
  }

  /// What is text stays as it is, so that options and suffixes are found in it.
  @Test func textIsItself() {
    #expect(String(carrying: Array("--name=Größe.img".utf8)) == "--name=Größe.img")
    #expect(String(carrying: [0x66, 0xFC, 0x72, 0x2E, 0x78, 0x7A]).hasSuffix("r.xz"))
  }

  @Test(
    arguments: [
      [0xFF], [0x80], [0xC3], [0xE2, 0x82], [0xF0, 0x9F, 0x92], [0xC0, 0x80], [0xED, 0xA0, 0x80],
      [0xF4, 0x90, 0x80, 0x80],
      [0x61, 0xFC, 0x62], [0xC3, 0xA4, 0xE4, 0xC3, 0xA4],
    ] as [[UInt8]])
  func otherBytes(_ bytes: [UInt8]) {
    let carrier = String(carrying: bytes)
    #expect(carrier.carriedBytes == bytes)
    #expect(carrier.printable.unicodeScalars.contains("\u{FFFD}"))
    let path = FilePath(carriedBy: carrier)
    #expect(path.length == bytes.count && path.carrier == carrier)
  }

  @Test func everyPairOfBytes() {
    for first in UInt8(1)...255 {
      for second in UInt8(1)...255 {
        #expect(String(carrying: [first, second]).carriedBytes == [first, second])
      }
    }
  }
}
