// The kernel's list of mounts, in bytes as the kernel writes them.

import SystemPackage
import Testing

@testable import DiskIO

extension MountTable {
  fileprivate static func parse(_ text: String) -> [MountTableEntry] { parse(Array(text.utf8)) }
}

@Suite struct MountTableTests {
  private func line(_ mountpoint: String, source: String, _ optional: String = "shared:1 ") -> String {
    "36 35 0:98 / \(mountpoint) rw,noatime \(optional)- fuse.cowmount \(source) rw\n"
  }

  @Test func fields() throws {
    let entry = try #require(MountTable.parse(line("/mnt/a", source: "/srv/disk.img")).first)
    #expect(entry.device == "0:98" && entry.mountpoint == "/mnt/a")
    #expect(entry.type == "fuse.cowmount" && entry.source == "/srv/disk.img")
    for optional in ["", "shared:1 master:2 unbindable "] {
      #expect(MountTable.parse(line("/mnt/a", source: "x", optional)).map(\.source) == ["x"])
    }
  }

  @Test func escapes() {
    let escaped = MountTable.parse(line(#"/mnt/a\040b\011\012\134\043"#, source: "x"))
    #expect(escaped.map(\.mountpoint) == ["/mnt/a b\t\n\\#"])
    // Nothing but three octal digits is one.
    #expect(MountTable.parse(line("/mnt", source: #"\+12\04\777\8"#)).map(\.source) == [#"\+12\04\777\8"#])
  }

  /// To a String, a blank with an accent behind it is no blank, and the end of a line behind \r no end of a line.
  @Test func bytesAndNotCharacters() {
    let text = line("/mnt/a\r", source: "\u{301}b\r") + line("/mnt/\u{301}c", source: "\u{301}") + "x - y z\r\n"
    #expect(MountTable.parse(text + line("/d", source: "d")).map(\.source) == ["\u{301}b\r", "\u{301}", "d"])
    #expect(MountTable.parse(text).map(\.mountpoint) == ["/mnt/a\r", "/mnt/\u{301}c"])
  }

  @Test(arguments: ["", "\n", "36 35 0:98 / /mnt rw fuse x rw", "36 35 0:98 / /mnt rw -", "- - - - - -"])
  func others(text: String) {
    #expect(MountTable.parse(text).isEmpty)
  }
}
