// Programs that the soak starts: each in a process group of its own, waited for with a limit, killed by its id.

internal import CSoak
internal import Glibc
internal import SystemPackage

/// A program that runs.
final class Child {
  let pid: pid_t
  let name: String
  private var status: CInt?

  /// Starts a program.
  ///
  /// - Parameter output: a file that standard output and error are appended to; nil: those of the soak.
  init(_ words: [String], output: String? = nil) throws {
    guard let first = words.first, let program = Self.find(first) else {
      throw Failure("\(words.first ?? "nothing") is not installed")
    }
    name = words.joined(separator: " ")
    var arguments: [UnsafeMutablePointer<CChar>?] = ([program] + words.dropFirst()).map { strdup($0) }
    arguments.append(nil)
    defer { for argument in arguments { free(argument) } }
    let pid = fork()
    if pid == 0 {
      setpgid(0, 0)
      csoak_die_with_parent()
      if let output {
        let file = open(output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        dup2(file, 1)
        dup2(file, 2)
      }
      execv(program, &arguments)
      _exit(127)
    }
    guard pid > 0 else { throw Failure("fork: \(Errno(rawValue: errno))") }
    self.pid = pid
  }

  private static func find(_ program: String) -> String? {
    if program.contains("/") { return program }
    let path = getenv("PATH").map { String(cString: $0) } ?? ""
    let folders = path.split(separator: ":").map(String.init) + ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
    return folders.map { "\($0)/\(program)" }.first { access($0, X_OK) == 0 }
  }

  static func isInstalled(_ program: String) -> Bool { find(program) != nil }

  /// The exit status, 128 and the signal's number where a signal ended it, nil while it runs.
  func poll() -> CInt? {
    if status == nil {
      var raw: CInt = 0
      if waitpid(pid, &raw, WNOHANG) == pid {
        status = raw & 0x7f == 0 ? (raw >> 8) & 0xff : 128 + (raw & 0x7f)
      }
    }
    return status
  }

  /// Waits for the end; nil where it has not come in time.
  func wait(seconds: Double) -> CInt? {
    _ = eventually(seconds) { poll() != nil }
    return poll()
  }

  func signal(_ number: CInt) {
    if poll() == nil { kill(pid, number) }
  }

  /// Ends it for good, unless it hangs in the kernel.
  func end() {
    if poll() == nil {
      kill(-pid, SIGKILL)
      kill(pid, SIGKILL)
      _ = wait(seconds: 5)
    }
  }
}

/// Runs a program that must succeed.
func mustRun(_ words: String..., limit: Double = 30) throws {
  let status = try finish(words, limit: limit, output: nil)
  if status != 0 { throw Failure("'\(words.joined(separator: " "))' failed with status \(status)") }
}

/// Runs a program to its end, and tells its exit status.
///
/// - Throws: where it does not end in time; it is killed, and what hangs is told.
@discardableResult
func attempt(_ words: String..., limit: Double = 30) throws -> CInt {
  try finish(words, limit: limit, output: "/dev/null")
}

private func finish(_ words: [String], limit: Double, output: String?) throws -> CInt {
  let child = try Child(words, output: output)
  if let status = child.wait(seconds: limit) { return status }
  let stacks = Stacks.of(child.pid)
  child.end()
  throw Failure("'\(child.name)' hung for \(limit) s\n\(stacks)")
}

/// Something that must not be.
struct Failure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}

/// Seconds of a clock that nobody sets.
func now() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Waits until `condition` holds; whether it did in time.
func eventually(_ seconds: Double, _ condition: () -> Bool) -> Bool {
  let end = now() + seconds
  while !condition() {
    if now() > end { return condition() }
    usleep(1000)
  }
  return true
}

/// What the threads of processes wait for in the kernel.
enum Stacks {
  static func of(_ pids: pid_t...) -> String {
    var text = ""
    for pid in pids {
      for thread in entries("/proc/\(pid)/task") {
        let place = "/proc/\(pid)/task/\(thread)"
        let name = (readText("\(place)/comm") ?? "gone\n").dropLast()
        text += "-- \(pid)/\(thread) \(name)\n\(readText("\(place)/stack") ?? "")"
      }
    }
    return text
  }
}
