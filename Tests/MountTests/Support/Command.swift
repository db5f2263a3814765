// Running other programs: with a time limit, in the C locale, with their output collected.

import Glibc
import Subprocess
import SystemPackage

/// What became of a program.
struct CommandResult: Sendable, CustomStringConvertible {
  let command: String
  /// Exit status; 128 and the signal's number where a signal ended it.
  let status: Int32
  let output: String
  let errors: String

  var succeeded: Bool { status == 0 }

  /// Lines of standard error.
  var errorLines: [String] { errors.split(separator: "\n").map(String.init) }

  var description: String { "\(command): status \(status)\n\(output)\(errors)" }
}

/// A program that had to succeed did not.
struct CommandFailure: Error, CustomStringConvertible {
  let result: CommandResult
  var description: String { result.description }
}

/// Runs a program and tells how it ended.
///
/// - Parameters:
///   - variables: added to the environment.
///   - limit: after this time the program and what it started in its process group are killed, and with them every
///     cowmount of this test, since a mount that hangs keeps its users from dying.
func attempt(
  _ program: String, _ arguments: [String], variables: [String: String] = [:], in directory: String? = nil,
  limit: Duration = .seconds(60)
) async throws -> CommandResult {
  let command = ([program] + arguments).joined(separator: " ")
  guard let path = Host.find(program) else { throw MissingNeed(description: "no \(program) here") }
  var environment: [Environment.Key: String?] = ["LC_ALL": "C", "PATH": Host.programs]
  for (name, value) in variables { environment[Environment.Key(stringLiteral: name)] = value }
  var options = PlatformOptions()
  options.processGroupID = 0
  let sandbox = Sandbox.current
  let result = try await Subprocess.run(
    .path(FilePath(path)), arguments: Arguments(arguments), environment: .inherit.updating(environment),
    workingDirectory: directory.map { FilePath($0) }, platformOptions: options, input: .none,
    output: .string(limit: 1 << 24), error: .string(limit: 1 << 24)
  ) { execution in
    let group = execution.processIdentifier.value
    return Watchdog.start(limit) {
      kill(-group, SIGKILL)
      sandbox?.killDaemons()
    }
  }
  Watchdog.callOff(result.closureResult)
  let status: Int32 =
    switch result.terminationStatus {
    case .exited(let code): code
    case .signaled(let signal): 128 + signal
    }
  return CommandResult(
    command: command, status: status, output: result.standardOutput, errors: result.standardError)
}

/// Runs a program that must succeed, and returns its standard output.
@discardableResult
func run(_ program: String, _ arguments: String..., limit: Duration = .seconds(60)) async throws -> String {
  let result = try await attempt(program, arguments, limit: limit)
  guard result.succeeded else { throw CommandFailure(result: result) }
  return result.output
}

/// Runs a script of the shell with `$1`, `$2` … that must succeed, and returns its standard output.
@discardableResult
func shell(_ script: String, _ arguments: String..., limit: Duration = .seconds(60)) async throws -> String {
  let result = try await attempt("sh", ["-euc", script, "sh"] + arguments, limit: limit)
  guard result.succeeded else { throw CommandFailure(result: result) }
  return result.output
}
