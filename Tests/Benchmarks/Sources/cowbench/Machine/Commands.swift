// Running a helper command to its end: fio, losetup, qemu-img, tar.

import Glibc
import Subprocess
import SystemPackage

/// Why a command did not do what was asked, in one line.
struct CommandFailed: Error, CustomStringConvertible {
  let description: String
}

/// Where an executable lies, or nil. The sbin folders are always searched: an `su` shell often lacks them.
func locate(_ name: String) -> FilePath? {
  if name.contains("/") { return isExecutable(FilePath(name)) ? FilePath(name) : nil }
  let path = getenv("PATH").map { String(cString: $0) } ?? ""
  let folders = path.split(separator: ":").map(String.init) + ["/usr/sbin", "/sbin"]
  return folders.map { FilePath($0).appending(name) }.first(where: isExecutable)
}

private func isExecutable(_ path: FilePath) -> Bool {
  guard let stat = try? Stat(path), stat.type == .regular else { return false }
  return access(path.string, X_OK) == 0
}

/// Runs a command to its end and returns what it printed.
///
/// A command that outlives `limit` is killed: a rival that hangs must not stop the run. The same happens when the
/// surrounding task is cancelled. It runs in a process group of its own, so that Ctrl-C reaches only us and the
/// order of the clean-up is ours.
@discardableResult
func command(
  _ name: String, _ arguments: [String], limit: Duration = .seconds(600)
) async throws -> String {
  guard let executable = locate(name) else { throw CommandFailed(description: "\(name): not installed") }
  var options = PlatformOptions()
  options.processGroupID = 0
  options.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: .seconds(2))]
  let configuration = Configuration(
    executable: .path(executable), arguments: Arguments(arguments), platformOptions: options)

  let ending = try await withThrowingTaskGroup(of: Ending?.self) { group in
    group.addTask { try await finish(configuration) }
    group.addTask {
      try await Task.sleep(for: limit)
      return nil
    }
    defer { group.cancelAll() }
    return try await group.next() ?? nil
  }
  try Task.checkCancellation()
  guard let ending else { throw CommandFailed(description: "\(name): no end after \(limit)") }
  guard ending.succeeded else {
    throw CommandFailed(description: "\(name): \(ending.complaint.firstLine ?? "failed, and said nothing")")
  }
  return ending.output
}

private struct Ending: Sendable {
  let succeeded: Bool
  let output: String
  let complaint: String
}

private func finish(_ configuration: Configuration) async throws -> Ending {
  let result = try await run(
    configuration, input: .none, output: .string(limit: 1 << 20), error: .string(limit: 1 << 20))
  return Ending(
    succeeded: result.terminationStatus.isSuccess, output: result.standardOutput,
    complaint: result.standardError)
}

/// Runs `body` to its end even where the surrounding task has been cancelled, as a clean-up must.
func uncancelled(_ body: @escaping () async -> Void) async {
  await Task { await body() }.value
}

extension String {
  /// The first line with anything on it.
  var firstLine: String? {
    split(whereSeparator: \.isNewline).first { $0.contains { !$0.isWhitespace } }.map(String.init)
  }
}
