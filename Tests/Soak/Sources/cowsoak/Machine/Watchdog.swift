// Nothing may wait for ever. A step that takes too long has whatever it waits for told, and the servers killed, because
// the step may be stuck in a system call on a mount that hangs.

internal import Glibc
internal import Synchronization

enum Watchdog {
  private struct Step {
    let name: String
    let end: Double
  }

  private struct State {
    var step: Step?
    var isStarted = false
    var complaint: String?
    var stagePath = ""
  }

  private static let state = Mutex(State())

  /// Runs `body`, which must not take longer.
  static func guarding(_ name: String, on stage: Stage, seconds: Double, _ body: () throws -> Void) throws {
    start()
    state.withLock {
      $0.step = Step(name: name, end: now() + seconds)
      $0.complaint = nil
      $0.stagePath = stage.path
    }
    let result = Result(catching: body)
    let complaint = state.withLock { state -> String? in
      state.step = nil
      return state.complaint
    }
    if let complaint {
      var reason = complaint
      if case .failure(let error) = result { reason += "\n\(error)" }
      throw Failure(reason)
    }
    try result.get()
  }

  private static func start() {
    guard
      state.withLock({ state in
        defer { state.isStarted = true }
        return !state.isStarted
      })
    else { return }
    var thread = pthread_t()
    pthread_create(&thread, nil, { _ in Watchdog.watch() }, nil)
    pthread_detach(thread)
  }

  private static func watch() -> Never {
    while true {
      usleep(100_000)
      let late = state.withLock { state -> (Step, String)? in
        guard let step = state.step, step.end < now() else { return nil }
        state.step = nil
        return (step, state.stagePath)
      }
      guard let (step, path) = late else { continue }
      let complaint = "'\(step.name)' took too long. Who waited where:\n" + Self.everybody(path)
      writeError(complaint + "\n")
      state.withLock { $0.complaint = complaint }
      // With its server gone, a hung call fails.
      for pid in Self.processes(path) where (readText("/proc/\(pid)/comm") ?? "").hasPrefix("cowmount") {
        kill(pid, SIGKILL)
      }
      Stage.abortRequests(path)
    }
  }

  private static func processes(_ path: String) -> [pid_t] {
    entries("/proc").compactMap { pid_t($0) }.filter { pid in
      pid == getpid() || (readText("/proc/\(pid)/cmdline") ?? "").contains(path + "/")
    }
  }

  private static func everybody(_ path: String) -> String {
    processes(path).map { Stacks.of($0) }.joined()
  }
}

/// Writes to standard error at once.
func writeError(_ text: String) {
  var text = text
  text.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
