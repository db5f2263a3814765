// The command. Each subcommand has its own file; this one knows their names, the version, and how a failure is told:
// one line on standard error that begins with the command's name.

internal import ArgumentParser
internal import DiskIO
internal import Glibc
internal import MountedDisk

@main
struct Cowmount: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cowmount",
    abstract: Mount.configuration.abstract,
    version: "cowmount 0.1.0",
    subcommands: [
      Mount.self, Exec.self, Partitions.self, List.self, Status.self, Changes.self, Checkpoint.self, Reset.self,
      Save.self, UnmountCommand.self,
    ],
    defaultSubcommand: Mount.self)

  static func main() {
    // Ignored by some callers, and inherited: nobody could wait for a child then, nor learn how it ended.
    signal(SIGCHLD, SIG_DFL)
    openStandardDescriptors()
    if arguments.first == Completion.command {
      let completion = Completion(of: Array(arguments.dropFirst())) {
        let mounts = (try? MountTable().entries) ?? []
        return mounts.filter { $0.type == "fuse.cowmount" }.map(\.mountpoint.carrier)
      }
      print(completion.text)
      return
    }
    // `cowmount --help` is asked for what the command does by default.
    if CommandLine.arguments.dropFirst().allSatisfy({ ["-h", "--help"].contains($0) }), CommandLine.argc > 1 {
      print(helpMessage(for: Mount.self))
      return
    }
    do {
      let request = MountHelper.isCalled ? try MountHelper.request(arguments) : nil
      var command = try command(from: request?.arguments ?? arguments)
      if request?.isFake != true { try command.run() }
    } catch {
      end(with: error)
    }
  }

  /// The command line without the program's name. (CommandLine.arguments repairs what is no UTF-8.)
  private static var arguments: [String] {
    (1..<max(1, Int(CommandLine.argc))).compactMap { index in
      CommandLine.unsafeArgv[index].map { word in
        // SAFETY: the system ends each word with a NUL, and nobody changes it.
        String(carrying: UnsafeBufferPointer(start: word, count: strlen(word)).map { UInt8(bitPattern: $0) })
      }
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
    if let complaint = Habits.complaint(about: arguments) { throw ValidationError(complaint) }
    return try parseAsRoot(MountOptions.expand(BracketedCommand.replace(in: arguments)))
  }

  /// Tells an error, and ends the process.
  ///
  /// - Parameter failure: the exit status where the command line was right.
  static func end(with error: any Error, failure: Int32 = 1) -> Never {
    // The log has said why.
    if error is MountEndedBadly || error is AlreadyTold { exit(status: failure) }
    if let failure = error as? MountFailure, failure.isUsage {
      return end(with: ValidationError(failure.description))
    }
    let code = exitCode(for: error)
    if code == .success {
      // Help and version are answers, and may have many lines.
      print(fullMessage(for: error))
      Glibc.exit(0)
    }
    // Without `--help`'s text: one line, and where to read more.
    let hint = code == .validationFailure ? " (see cowmount --help)" : ""
    Console.complain(line(for: error) + hint)
    exit(status: code == .failure ? failure : code.rawValue)
  }

  /// What is told of an error.
  static func line(for error: any Error) -> String {
    let text = message(for: error)
    if let value = text.firstMatch(of: /is invalid for '[^<]*<([^>]*)>'/) {
      // The parser shows what an enumeration may be in lines of their own.
      let listed = text.split(separator: "\n").filter { $0.hasPrefix("  - ") }.map { String($0.dropFirst(4)) }
      let head = text.prefix(upTo: value.range.upperBound)
      let values = listed.isEmpty ? value.1.split(separator: "|").map(String.init) : listed
      if let last = values.last, values.count > 1 {
        return "\(head): give \(values.dropLast().joined(separator: ", ")) or \(last)"
      }
      if value.1 == "size" { return "\(head): a size is written as 65536, 64k or 64KiB" }
    }
    return text
  }

  private static func exit(status: CInt) -> Never {
    Glibc.exit(MountHelper.isCalled ? MountHelper.status(for: status) : status)
  }
}

/// A failure that another process has told the user of.
struct AlreadyTold: Error {}
