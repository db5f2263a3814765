// What the tests of the command share: the repository's own texts, and the option lists of help and manual.

import ArgumentParser
import DiskIO
import SystemPackage
import Testing

@testable import cowmount

/// The top of the repository.
let root = FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()

/// The text of a file of the repository.
func text(of path: String) throws -> String {
  try File.readText(root.appending(path))
}

func lines(of path: String) throws -> [Substring] {
  try text(of: path).split(separator: "\n", omittingEmptySubsequences: false)
}

/// The command line, as `main` takes it apart.
func parse(_ arguments: String...) throws -> Mount {
  try #require(try Cowmount.command(from: arguments) as? Mount)
}

/// The exit status that a command line ends with before anything is done; 0 where it is right.
func status(of arguments: [String]) -> Int32 {
  do {
    _ = try Cowmount.command(from: arguments)
    return 0
  } catch {
    return Cowmount.exitCode(for: error).rawValue
  }
}

/// What a command line is refused with before anything is done; nil where it is right.
func complaint(about arguments: [String]) -> String? {
  do {
    _ = try Cowmount.command(from: arguments)
    return nil
  } catch {
    return complaint(error)
  }
}

func complaint(_ error: any Error) -> String { Cowmount.line(for: error) }

/// The options in `cowmount --help`, each with its dashes.
func optionsInHelp() -> Set<String> { options(of: Mount.self) }

/// The options in a command's help, each with its dashes.
func options(of command: any ParsableCommand.Type) -> Set<String> {
  // Wide enough that no line is broken, so what begins a line is an option and not a word in a description.
  let help = Cowmount.helpMessage(for: command, columns: 1000)
  var options: Set<String> = []
  for line in help.split(separator: "\n") where line.hasPrefix("  -") {
    for word in line.drop(while: { $0 == " " }).split(separator: " ") {
      guard word.hasPrefix("-") else { break }
      options.insert(String(word.prefix { $0 != "," }))
    }
  }
  return options
}
