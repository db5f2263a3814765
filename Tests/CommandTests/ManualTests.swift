// What is written about the command is true of it: the manual page has the options that the command has, and the command
// lines in manual page and README are ones that it takes.

import ArgumentParser
import Testing

@testable import cowmount

@Suite struct ManualTests {
  private static let manual = "man/cowmount.1"

  @Test func manualAndHelpHaveTheSameOptions() throws {
    let help = optionsInHelp()
    let manual = try optionsInManual()
    #expect(help.count > 10)
    #expect(help.subtracting(manual).isEmpty, "in --help, not in the manual page")
    #expect(manual.subtracting(help).isEmpty, "in the manual page, not in --help")
  }

  /// Each command about mounts has a section of its own, with all of its options and no others.
  @Test func sectionsHaveTheOptionsOfTheirCommands() throws {
    let commands = Cowmount.configuration.subcommands.filter {
      $0 != Mount.self && $0 != Partitions.self && $0 != Exec.self
    }
    #expect(!commands.isEmpty)
    for command in commands {
      let name = command._commandName
      let help = Set(options(of: command)).subtracting(["-h", "--help", "--version"])
      let section = try lines(of: Self.manual).drop { $0 != ".Ss cowmount \(name)" }.dropFirst().prefix {
        !$0.hasPrefix(".Sh") && !$0.hasPrefix(".Ss")
      }
      let manual = section.filter { $0.hasPrefix(".Op Fl ") }.map { "-" + $0.split(separator: " ")[2] }
      #expect(help == Set(manual), "cowmount \(name)")
    }
  }

  /// What the manual says of it: those of a mount but for some.
  @Test func execHasTheOptionsOfAMount() {
    let others: Set = ["-f", "--foreground", "--nonempty", "--pid-file", "--ready-fd"]
    #expect(others.isSubset(of: options(of: Mount.self)))
    #expect(options(of: Exec.self) == options(of: Mount.self).subtracting(others))
  }

  /// The options in the manual's section OPTIONS, each with its dashes: `.It Fl f , Fl -foreground`.
  private func optionsInManual() throws -> Set<String> {
    let section = try lines(of: Self.manual).drop { $0 != ".Sh OPTIONS" }.dropFirst().prefix { !$0.hasPrefix(".Sh") }
    var options: Set<String> = []
    for line in section where line.hasPrefix(".It") {
      let words = line.split(separator: " ")
      for (flag, name) in zip(words, words.dropFirst()) where flag == "Fl" { options.insert("-" + name) }
    }
    return options
  }

  @Test(arguments: [manual, "README.md"])
  func commandLinesAreRight(_ path: String) throws {
    var count = 0
    for line in try lines(of: path) {
      // A comment behind the command is not part of it.
      let words = line.split(separator: " ").prefix { !$0.hasPrefix("#") }.map(String.init)
      if words.first == "cowmount", line.hasPrefix("cowmount ") {
        #expect(status(of: Array(words.dropFirst())) == 0, "\(line)")
        count += 1
      } else if words.count == 6, ["cowmount", "fuse.cowmount"].contains(words[2]) {
        #expect(status(of: ["-o", words[3], words[0], words[1]]) == 0, "\(line)")
        count += 1
      }
    }
    #expect(count > 4)
  }
}
