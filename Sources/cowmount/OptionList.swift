// What a command takes, read from its own --help: the one place that always knows.

internal import ArgumentParser

/// The options and arguments of a command, in the order of its help.
struct OptionList {
  struct Entry {
    /// With their dashes; of an argument, none.
    var names: [String] = []
    /// What stands for the value, without its brackets: `size`, `on|off`; nil where there is none.
    var value: String?
    var help = ""

    /// All that the value may be; nothing where that is not a short list.
    var values: [String] {
      if let value, value.contains("|") { return value.split(separator: "|").map(String.init) }
      guard let list = help.firstMatch(of: /\(values: ([^;)]*)/) else { return [] }
      return list.1.split(separator: ",").map { String($0.drop { $0 == " " }) }
    }
  }

  private(set) var options: [Entry] = []
  private(set) var arguments: [Entry] = []

  init(of command: any ParsableCommand.Type) {
    // Wide enough that no description is broken. Long names have theirs on the next line.
    for line in Cowmount.helpMessage(for: command, columns: 10_000).split(separator: "\n") {
      let words = line.split(separator: " ")
      if line.hasPrefix("  -") {
        options.append(Self.entry(words[...]))
      } else if line.hasPrefix("  <") {
        arguments.append(Self.entry(words[...]))
      } else if line.hasPrefix("      "), let last = options.indices.last, options[last].help.isEmpty {
        options[last].help = words.joined(separator: " ")
      }
    }
  }

  private static func entry(_ words: ArraySlice<Substring>) -> Entry {
    var entry = Entry()
    var words = words
    while let name = words.first, name.hasPrefix("-") {
      entry.names.append(String(name.prefix { $0 != "," }))
      words.removeFirst()
    }
    if let value = words.first, value.hasPrefix("<") {
      entry.value = value.filter { !"<>".contains($0) }
      words.removeFirst()
    }
    entry.help = words.joined(separator: " ")
    return entry
  }

  /// The option of this name, with its dashes.
  func option(_ name: String) -> Entry? { options.first { $0.names.contains(name) } }
}
