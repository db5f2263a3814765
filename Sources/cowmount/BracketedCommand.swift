// A server in place of an image: `cowmount MOUNTPOINT [ nbdkit file disk.img ]`, in brackets that are arguments of their own
// at the end of the command line, as nbdfuse has it. For exec the end is where the two dashes in front of its command are.
//
// Whatever is between them is not ours, so it is taken out before the command line is parsed, and handed to an option that
// users are not told of. In the image's place goes a text that stands for it.

internal import ArgumentParser

enum BracketedCommand {
  /// The option that has the command's words.
  static let option = "server-command"

  /// Puts the words between brackets behind options of ours; the arguments themselves where there are no brackets.
  static func replace(in arguments: [String]) throws -> [String] {
    if arguments.first == exec { return try replace(inExec: arguments) }
    guard let start = arguments.firstIndex(of: "[") else { return arguments }
    guard arguments.last == "]" else {
      throw ValidationError("the command that begins with [ must end with ], the last argument")
    }
    var rest = arguments[..<start]
    // For scripts, which say so what may come.
    if rest.last == "--" { rest.removeLast() }
    var options = try options(for: arguments[(start + 1)...].dropLast())
    if let first = rest.first, subcommands.contains(first) {
      options.insert(first, at: 0)
      rest.removeFirst()
    }
    return options + rest
  }

  /// Behind the brackets come two dashes and a command, which may have brackets of its own.
  private static func replace(inExec arguments: [String]) throws -> [String] {
    guard let start = arguments.firstIndex(where: { $0 == "[" || $0 == "--" }), arguments[start] == "[" else {
      return arguments
    }
    let ends = arguments.indices.dropLast().filter { $0 > start && arguments[$0] == "]" && arguments[$0 + 1] == "--" }
    guard let end = ends.first else {
      throw ValidationError("the server that begins with [ must end with ], and behind it comes -- and the command")
    }
    let options = try options(for: arguments[(start + 1)..<end])
    return [exec] + options + arguments[1..<start] + arguments[(end + 1)...]
  }

  private static func options(for words: ArraySlice<String>) throws -> [String] {
    guard let program = words.first, !program.isEmpty else { throw ValidationError("there is no command in [ ]") }
    return words.map { "--\(option)=\($0)" } + [placeholder(program)]
  }

  private static let exec = "exec"
  private static var subcommands: [String] { Cowmount.configuration.subcommands.map { $0._commandName } }

  /// What stands for the image. It is neither an option nor a subcommand.
  static func placeholder(_ program: String) -> String { "[ \(program) … ]" }
}
