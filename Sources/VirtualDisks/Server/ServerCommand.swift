// A program that serves an image by NBD, and where it is.

internal import DiskIO
internal import Glibc

/// A command line of a server, which gets its socket in the way of systemd's socket activation (sd_listen_fds(3)), as nbdkit
/// and qemu-nbd take it.
public struct ServerCommand: Equatable, Sendable {
  /// The program and its arguments; never empty.
  public let words: [String]

  /// Takes a program and its arguments; nil where there is none.
  public init?(_ words: [String]) {
    guard let program = words.first, !program.isEmpty else { return nil }
    self.words = words
  }

  /// The program without its directory, for messages. The arguments may have secrets in them.
  public var name: String {
    let program = words.first ?? ""
    return program.split(separator: "/").last.map(String.init) ?? program
  }

  /// The program's file: as it is written where that has a slash, else found on the PATH.
  func file() throws(ServerCommandError) -> String {
    let program = words.first ?? ""
    if program.contains("/") {
      guard program.withCarriedCString({ access($0, F_OK) }) == 0 else {
        throw ServerCommandError(name: program, problem: .missing)
      }
      return program
    }
    let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
    for directory in path.split(separator: ":") {
      let file = "\(directory)/\(program)"
      if file.withCarriedCString({ access($0, X_OK) }) == 0 { return file }
    }
    throw ServerCommandError(name: program, problem: .missing)
  }
}
