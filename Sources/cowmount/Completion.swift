// Completion of command lines: what can stand where the cursor is. The scripts for bash, zsh and fish (Sources/packaging)
// hand over the words and show the answer in their own way; what is right is said here once, and follows from --help.

internal import ArgumentParser
internal import DiskIO

/// What can stand in the place of a word.
struct Completion: Equatable {
  /// What else may stand there besides `candidates`. The scripts know these names.
  enum Kind: String {
    /// Nothing.
    case words
    /// Nothing; the candidates are paths, which a shell quotes in its own way.
    case paths
    case files, directories
  }

  struct Candidate: Equatable {
    var text: String
    var help = ""
  }

  var kind = Kind.words
  /// What the word begins with that stays as it is: `--format=`, or what is in front of the last comma.
  var prefix = ""
  var candidates: [Candidate] = []

  /// The first word of a command line that asks for completion. Nobody types it.
  static let command = "---complete"

  /// The answer as the scripts read it: kind and prefix, then a line for each candidate, with tabs between fields.
  var text: String {
    let lines = ["\(kind.rawValue)\t\(prefix)"] + candidates.map { "\($0.text)\t\($0.help)" }
    return lines.filter { !$0.contains("\n") }.joined(separator: "\n")
  }

  /// - Parameters:
  ///   - words: the command line up to the cursor without the program's name; the last one, which may be empty, is to be
  ///     completed.
  ///   - mountpoints: where cowmount has mounts.
  init(of words: [String], mountpoints: () -> [String]) {
    var before = words.dropLast()
    let current = words.last ?? ""
    let commands = Cowmount.configuration.subcommands
    if before.first == "help" {
      candidates = before.count == 1 ? Self.names(of: commands, for: current) : []
      return
    }
    var command: any ParsableCommand.Type = Mount.self
    if let named = commands.first(where: { $0._commandName == before.first }) {
      command = named
      before.removeFirst()
    }
    let list = OptionList(of: command)
    let line = Line(before, list)

    if let words = line.wordsInBrackets {
      if words == 0 { candidates = Self.matching(["nbdkit", "qemu-nbd"], current) } else { kind = .files }
    } else if let option = line.waiting {
      complete(option, current, list)
    } else if !line.isBehindDashes, current.hasPrefix("-") {
      complete(anOption: current, list, without: line.given)
    } else if line.arguments < list.arguments.count {
      let isOurs = command != Mount.self && list.arguments[line.arguments].value == "mountpoint"
      if isOurs {
        kind = .paths
        candidates = Self.matching(mountpoints(), current)
      } else {
        kind = .files
      }
      if words.count == 1 { candidates += Self.names(of: commands, for: current) }
    } else if command == Exec.self {
      kind = .files
    }
  }

  private mutating func complete(anOption current: String, _ list: OptionList, without given: Set<String>) {
    if let sign = current.firstIndex(of: "="), let option = list.option(String(current[..<sign])) {
      prefix = String(current[...sign])
      complete(option, String(current[current.index(after: sign)...]), list)
    } else if !current.hasPrefix("--"), current.hasPrefix("-o"), let option = list.option("-o") {
      prefix = "-o"
      complete(option, String(current.dropFirst(2)), list)
    } else {
      for option in list.options where given.isDisjoint(with: option.names) {
        candidates += Self.matching(option.names, current).map { Candidate(text: $0.text, help: option.help) }
      }
    }
  }

  private mutating func complete(_ option: OptionList.Entry, _ current: String, _ list: OptionList) {
    switch option.value {
    case "options": complete(list: current, list)
    case "dir": kind = .directories
    case "path": kind = .files
    default: candidates = Self.matching(option.values, current)
    }
  }

  /// Completes the argument of -o: the part behind the last comma.
  private mutating func complete(list: String, _ options: OptionList) {
    let start = list.lastIndex(of: ",").map { list.index(after: $0) } ?? list.startIndex
    let current = String(list[start...])
    prefix += list[..<start]
    if let sign = current.firstIndex(of: "=") {
      guard let option = options.option("--" + current[..<sign]) else { return }
      prefix += current[...sign]
      complete(option, String(current[current.index(after: sign)...]), options)
      return
    }
    let ours = options.options.flatMap { option in
      option.names.compactMap { name -> Candidate? in
        guard name.hasPrefix("--"), MountOptions.ours.contains(String(name.dropFirst(2))) else { return nil }
        return Candidate(text: name.dropFirst(2) + (option.value == nil ? "" : "="), help: option.help)
      }
    }
    let others = ["ro", "rw", "allow_other", "default_permissions", "fsname=", "nosuid", "nodev", "noexec", "noatime"]
    candidates = (others.map { Candidate(text: $0) } + ours).filter { $0.text.hasPrefix(current) }
  }

  private static func matching(_ texts: [String], _ current: String) -> [Candidate] {
    texts.filter { $0.hasPrefix(current) }.map { Candidate(text: $0) }
  }

  private static func names(of commands: [any ParsableCommand.Type], for current: String) -> [Candidate] {
    commands.map { Candidate(text: $0._commandName, help: $0.configuration.abstract) }
      .filter { $0.text.hasPrefix(current) }
  }
}

/// What the words in front of the cursor come to.
private struct Line {
  var given: Set<String> = []
  var arguments = 0
  var isBehindDashes = false
  /// The option whose value comes next.
  var waiting: OptionList.Entry?
  /// How many words of a command in brackets there are; nil where no bracket is open.
  var wordsInBrackets: Int?

  init(_ words: some Sequence<String>, _ list: OptionList) {
    for word in words {
      if let count = wordsInBrackets {
        wordsInBrackets = count + 1
      } else if waiting != nil {
        waiting = nil
      } else if word == "[" {
        wordsInBrackets = 0
      } else if word == "--", !isBehindDashes {
        isBehindDashes = true
      } else if word.hasPrefix("-"), !isBehindDashes {
        note(option: word, list)
      } else {
        arguments += 1
      }
    }
  }

  private mutating func note(option word: String, _ list: OptionList) {
    guard let option = list.option(String(word.prefix { $0 != "=" })) else { return }
    // -o may come again.
    if option.value != "options" { given.formUnion(option.names) }
    if option.value != nil, !word.contains("=") { waiting = option }
  }
}
