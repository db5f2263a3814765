// Names come from outside, and may have in them whatever a file's name can: messages stay lines of text, and steer nobody's
// terminal. What programs read is exact.

import Glibc
import Testing

extension Mounted {
  @Suite struct HostileNames {
    private static let name = "a\u{1B}[31m\n\u{202E}b\u{9B}2J.img"

    private func expectText(_ text: String, lines: Int? = nil) {
      let isText = text.unicodeScalars.allSatisfy {
        $0 == "\n" || ![.control, .format].contains($0.properties.generalCategory)
      }
      #expect(isText, "\(text.debugDescription)")
      let found = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
      if let lines { #expect(found.count == lines, "\(text.debugDescription)") }
    }

    @Test func failures() async throws {
      let place = try sandbox.directory("mnt")
      let directory = try sandbox.directory("images")
      let image = try Image("\(directory)/\(Self.name)", size: 4096)
      for arguments in [
        [directory + "/missing" + Self.name, place], [image.path, place + "/" + Self.name],
        ["--overlay-dir", directory + "/no" + Self.name, image.path, place],
        ["--name", "/" + Self.name, image.path, place],
        ["-o", "no\(Self.name)", image.path, place], ["partitions", image.path],
      ] {
        let result = try await attempt(Host.cowmount, arguments)
        #expect(!result.succeeded)
        if arguments[0] != "-o" { expectText(result.errors, lines: 1) }
      }
    }

    @Test func logs() async throws {
      let image = try sandbox.image(Self.name, size: 1 << 20)
      let mount = try await sandbox.mount(image, "--verbose", staying: true)
      try expectBase(mount.open(O_RDONLY), 0..<1 << 20)
      let result = try #require(try await mount.end(with: SIGTERM))
      #expect(result.errorLines.count >= 3)
      for line in result.errorLines { #expect(line.hasPrefix("cowmount: "), "\(line.debugDescription)") }
      expectText(result.errors)
    }

    @Test(.needs(.program("sfdisk"))) func tables() async throws {
      let image = try sandbox.image(Self.name, size: 4 << 20, data: [], mode: 0o644)
      try await shell(#"printf 'label: gpt\nsize=1M\n' | sfdisk --quiet "$1""#, image.path)
      expectText(try await run(Host.cowmount, "partitions", image.path), lines: 3)
      let json = try await run(Host.cowmount, "partitions", "--json", image.path)
      #expect(json.contains(#"/a\u001b[31m\n"# + "\u{202E}" + #"b\u009b2J.img","#), "\(json)")
    }
  }
}
