// Why a server that was started for the mount does not serve it, in the words that the user reads.

internal import Glibc
internal import NbdImages
internal import SystemPackage

/// A server that cannot be used.
public struct ServerCommandError: Error, Equatable, CustomStringConvertible {
  /// What is wrong.
  enum Problem: Error, Equatable {
    /// There is no such program.
    case missing
    /// There is no socket for it, or no process; why.
    case notStarted(Errno)
    /// It ended before it served anything.
    case ended(ServerEnd, said: [String])
    /// It runs and did not answer within this time.
    case silent(Duration)
    /// It runs, and what it serves cannot be used.
    case unusable(NbdProblem)
    /// It runs and serves nothing; why, in its own words.
    case failed(String)
  }

  /// The program, as messages call it.
  let name: String
  let problem: Problem

  /// One line that names the program and the way out.
  public var description: String {
    switch problem {
    case .missing: "there is no program \(name); install it, or correct the command"
    case .notStarted(let error), .ended(.notStarted(let error), _): "cannot start \(name): \(error)"
    case .ended(let end, let said):
      "\(name) \(end) and served nothing" + ((Self.cause(in: said) ?? said.last).map { ": \($0)" } ?? Self.advice(end))
    case .silent(let time):
      """
      \(name) did not serve the socket it was given within \(time.components.seconds) s; it must take it as systemd \
      passes sockets, as nbdkit and qemu-nbd do
      """
    case .unusable(.noServer(let reason)), .unusable(.other(let reason)):
      "\(name) runs, and does not serve NBD on the socket it was given: \(reason)"
    case .unusable(let problem): "\(name): \(problem)"
    case .failed(let words):
      "\(name) serves nothing: \(words.hasPrefix("\(name): ") ? String(words.dropFirst(name.count + 2)) : words)"
    }
  }

  /// What a server said of what went wrong: its first error, since others follow from that, and advice comes last; nil where
  /// it called nothing an error.
  static func cause(in said: [String]) -> String? {
    said.first { $0.lowercased().contains("error: ") }
  }

  private static func advice(_ end: ServerEnd) -> String {
    end == .exited(0) ? "; see that it stays in the foreground" : "; run it by itself to see why"
  }
}

/// How a server ended.
enum ServerEnd: Equatable, CustomStringConvertible {
  case exited(Int32)
  case killed(signal: Int32)
  /// The program cannot be executed.
  case notStarted(Errno)
  /// Its minder is gone and did not tell.
  case unminded

  var description: String {
    switch self {
    case .exited(let status): "exited with status \(status)"
    case .killed(let signal): "was killed by signal \(signal)"
    case .notStarted(let error): "cannot be executed (\(error))"
    case .unminded: "ended with the process that minds it, which was killed"
    }
  }
}
