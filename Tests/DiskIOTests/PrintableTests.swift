// What people read must not steer their terminals.

import DiskIO
import Testing

@Suite struct PrintableTests {
  @Test(
    arguments: [
      ("disk.img", "disk.img"), ("", ""), ("größe 你好 🙂", "größe 你好 🙂"), ("a\u{1B}[31mb", "a\u{FFFD}[31mb"),
      ("a\nb\r\nc", "a\u{FFFD}b\u{FFFD}\u{FFFD}c"), ("a\tb", "a b"), ("\u{7F}\u{9B}2J", "\u{FFFD}\u{FFFD}2J"),
      ("a\u{2028}b\u{2029}", "a\u{FFFD}b\u{FFFD}"), ("\u{202E}gmi.ksid", "\u{FFFD}gmi.ksid"), ("\u{E000}", "\u{FFFD}"),
      ("e\u{301}", "e\u{301}"),
    ])
  func `steering characters are replaced and all else stays`(text: String, expected: String) {
    #expect(text.printable.unicodeScalars.elementsEqual(expected.unicodeScalars))
  }
}
