// A child that goes on running while something is measured: the process behind a mount.

import Glibc
import Subprocess
import SystemPackage

/// One running server. Whoever starts one must end it: see `Stage.tearDown`.
final class Server {
  let name: String
  let pid: pid_t
  /// Nil for as long as it runs. As long as it is nil the pid is ours: nobody has reaped it.
  private(set) var status: TerminationStatus?
  private let log: FilePath

  private init(name: String, pid: pid_t, log: FilePath) {
    self.name = name
    self.pid = pid
    self.log = log
  }

  /// Starts a server, its output going to `log`. Returns as soon as the process exists, long before it is ready.
  static func start(
    _ name: String, _ arguments: [String], environment: [Environment.Key: String?] = [:], log: FilePath
  ) async throws -> Server {
    guard let executable = locate(name) else { throw CommandFailed(description: "\(name): not installed") }
    var options = PlatformOptions()
    options.processGroupID = 0
    let configuration = Configuration(
      executable: .path(executable), arguments: Arguments(arguments),
      environment: .inherit.updating(environment), platformOptions: options)
    let output = try FileDescriptor.open(
      log, .writeOnly, options: [.create, .append], permissions: .ownerReadWrite)

    let (started, announce) = AsyncStream<pid_t>.makeStream()
    // Not a child task: it must live on when the measurement is cancelled, until the mount is taken down in order.
    let running = Task {
      defer { announce.finish() }
      let result = try await run(
        configuration, input: .none, output: .fileDescriptor(output, closeAfterSpawningProcess: true),
        error: .combinedWithOutput
      ) { execution in
        announce.yield(execution.processIdentifier.value)
        announce.finish()
      }
      return result.terminationStatus
    }
    var starts = started.makeAsyncIterator()
    guard let pid = await starts.next(isolation: #isolation) else {
      _ = try await running.value
      throw CommandFailed(description: "\(name): did not start")
    }
    let server = Server(name: executable.lastComponent?.string ?? name, pid: pid, log: log)
    Task { server.status = (try? await running.value) ?? .exited(-1) }
    return server
  }

  var isRunning: Bool { status == nil }

  /// The first line of what it printed: where it failed, nearly always the reason.
  var complaint: String { readText(log)?.firstLine ?? "ended without a word" }

  func signal(_ number: CInt) {
    if isRunning { kill(pid, number) }
  }

  /// Waits for its end; false when it is still there after `limit`.
  func ended(within limit: Duration) async -> Bool {
    await holds(within: limit) { !self.isRunning }
  }
}

/// Asks again and again whether `condition` holds; false when it still does not after `limit`.
func holds(within limit: Duration, _ condition: () -> Bool) async -> Bool {
  let deadline = ContinuousClock.now + limit
  while !condition() {
    guard ContinuousClock.now < deadline else { return false }
    try? await Task.sleep(for: .milliseconds(2))
  }
  return true
}
