// What can stand where the cursor is. That the shells show it is looked at in the shells themselves (Tests/completions.zsh).

import ArgumentParser
import Testing

@testable import cowmount

@Suite struct CompletionTests {
  private func completion(_ words: String...) -> Completion { Completion(of: words) { ["/mnt/one", "/srv/two"] } }

  private func texts(_ words: String...) -> [String] { Completion(of: words) { [] }.candidates.map(\.text) }

  /// The list that everything here follows from is the one that the manual page is compared with.
  @Test func everyOptionIsOffered() {
    #expect(Set(texts("-")) == optionsInHelp())
    #expect(texts("-").contains("--block-size"))
    #expect(completion("--block-s").candidates.allSatisfy { $0.help.contains("copy-on-write") })
    #expect(texts("mount", "--block") == ["--block-size"])
    #expect(texts("partitions", "--js") == ["--json"])
    #expect(texts("--json").isEmpty)
  }

  @Test func optionThatIsGivenIsNotOfferedAgain() {
    #expect(texts("--memory", "--mem").isEmpty)
    #expect(texts("--name=x", "--nam").isEmpty)
    #expect(texts("-o", "ro", "-").contains("-o"))
  }

  @Test(arguments: [
    ("--format", "q", ["qcow2"]), ("--format", "v", ["vmdk", "vhdx", "vdi", "vpc"]),
    ("--detect-zeroes", "", ["on", "off"]),
    ("--base-cache", "n", ["none"]), ("--threads", "", []),
  ])
  func values(option: String, typed: String, expected: [String]) {
    #expect(texts(option, typed) == expected)
    let joined = completion("\(option)=\(typed)")
    #expect(joined.candidates.map(\.text) == expected && joined.prefix == option + "=")
  }

  /// Each option with a value has a list of values, a kind of file, or one of the names for what cannot be listed.
  @Test func everyValueIsOfAKnownKind() {
    for option in OptionList(of: Mount.self).options {
      guard let value = option.value, option.values.isEmpty else { continue }
      #expect(
        ["size", "n", "seconds", "name", "options", "dir", "path"].contains(value), "\(option.names): <\(value)>")
    }
  }

  @Test func filesAndDirectories() {
    #expect(completion("disk").kind == .files)
    #expect(completion("disk.img", "").kind == .files)
    #expect(completion("--overlay-dir", "/v").kind == .directories)
    #expect(completion("--overlay-dir=/v").kind == .directories)
    #expect(completion("--cow-on-read-while", "").kind == .files)
    #expect(completion("disk.img", "/mnt", "") == Completion(of: ["a", "b", ""]) { [] })
    #expect(completion("disk.img", "/mnt", "").kind == .words)
  }

  /// A value is not an argument, and behind two dashes nothing is an option.
  @Test func argumentsAreCounted() {
    #expect(completion("--block-size", "4k", "--memory", "x", "y", "").kind == .words)
    #expect(completion("--block-size", "4k", "x", "").kind == .files)
    #expect(completion("--", "-").kind == .files)
    #expect(completion("--", "--", "x", "").kind == .words)
  }

  @Test func commands() {
    #expect(texts("parti") == ["partitions"])
    #expect(completion("parti").kind == .files)
    #expect(texts("--memory", "parti").isEmpty)
    #expect(texts("help", "parti") == ["partitions"])
    #expect(completion("partitions", "disk", "").kind == .words)
  }

  /// Commands for mounts that stand get those.
  @Test func mountpoints() {
    for command in Cowmount.configuration.subcommands where command != Mount.self {
      guard OptionList(of: command).arguments.first?.value == "mountpoint" else { continue }
      let name = command._commandName
      let completion = completion(name, "/m")
      #expect(completion.kind == .paths && completion.candidates.map(\.text) == ["/mnt/one"], "\(name)")
      #expect(completion.candidates == self.completion(name, "--", "/m").candidates, "\(name)")
    }
  }

  @Test func commandsOfExec() {
    #expect(texts("exec", "--memory", "disk.img", "--pre") == ["--prefetch"])
    #expect(completion("exec", "disk.img", "--", "ls", "-l", "").kind == .files)
  }

  @Test func bracketedCommands() {
    #expect(texts("/mnt", "[", "nb") == ["nbdkit"])
    #expect(completion("/mnt", "[", "nbdkit", "file", "").kind == .files)
    #expect(texts("/mnt", "[", "nbdkit", "--for").isEmpty)
  }

  @Test func mountOptions() {
    let completion = completion("-o", "ro,allow_o")
    #expect(completion.prefix == "ro," && completion.candidates.map(\.text) == ["allow_other"])
    #expect(texts("-oblock") == ["block-size="])
    #expect(texts("-o", "mem") == ["memory"])
    #expect(texts("-o", "help").isEmpty)
    let value = self.completion("-o", "memory,format=q")
    #expect(value.prefix == "memory,format=" && value.candidates.map(\.text) == ["qcow2"])
    #expect(self.completion("-o", "overlay-dir=").kind == .directories)
  }

  /// Kind and prefix, then the candidates.
  @Test func textForTheScripts() {
    #expect(completion("--format=q").text == "words\t--format=\nqcow2\t")
  }
}
