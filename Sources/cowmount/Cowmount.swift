// The command. Each subcommand has its own file; this one knows their names, the version, and how a failure is told:
// one line on standard error that begins with the command's name.

internal import ArgumentParser
internal import DiskIO
internal import Glibc

@main
struct Cowmount: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cowmount",
    abstract: Mount.configuration.abstract,
    version: "cowmount 0.1.0",
    subcommands: [Mount.self, Partitions.self],
    defaultSubcommand: Mount.self)

  static func main() {
    // Ignored by some callers, and inherited: nobody could wait for a child then, nor learn how it ended.
    signal(SIGCHLD, SIG_DFL)
    openStandardDescriptors()
    // `cowmount --help` is asked for what the command does by default.
    if CommandLine.arguments.dropFirst().allSatisfy({ ["-h", "--help"].contains($0) }), CommandLine.argc > 1 {
      print(helpMessage(for: Mount.self))
      return
    }
    do {
      var command = try command(from: Array(CommandLine.arguments.dropFirst()))
      try command.run()
    } catch {
      end(with: error)
    }
  }

  /// Sees to it that nothing else gets the numbers of those that the caller has closed.
  private static func openStandardDescriptors() {
    while true {
      let descriptor = open("/dev/null", O_RDWR)
      guard (STDIN_FILENO...STDERR_FILENO).contains(descriptor) else {
        close(descriptor)
        return
      }
    }
  }

  /// The command that these arguments ask for.
  static func command(from arguments: [String]) throws -> any ParsableCommand {
    try parseAsRoot(MountOptions.expand(BracketedCommand.replace(in: arguments)))
  }

  private static func end(with error: any Error) -> Never {
    let code = exitCode(for: error)
    if code == .success {
      // Help and version are answers, and may have many lines.
      print(fullMessage(for: error))
      Glibc.exit(0)
    }
    // Without `--help`'s text: one line, and where to read more.
    let hint = code == .validationFailure ? " (see cowmount --help)" : ""
    complain(message(for: error) + hint)
    Glibc.exit(code.rawValue)
  }

  /// Writes a line to standard error.
  static func complain(_ message: String) {
    let line = message.split(whereSeparator: \.isNewline).joined(separator: " ")
    writeToStandardError("cowmount: \(line.printable)\n")
  }
}

/// Writes all of `text`, unbuffered; who closed standard error does not want it.
func writeToStandardError(_ text: String) {
  var text = text
  text.withUTF8 { bytes in
    _ = write(STDERR_FILENO, bytes.baseAddress, bytes.count)
  }
}
