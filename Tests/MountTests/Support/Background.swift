// A program that goes on beside the test, in the C locale of attempt(): it prints a line when it is ready, and is killed at the
// end.

import Glibc
import SystemPackage

final class Background {
  let pid: pid_t
  private var isOver = false

  /// Starts a program, and waits until it has printed something.
  init(_ program: String, _ arguments: String...) throws {
    guard let path = Host.find(program) else { throw MissingNeed(description: "no \(program) here") }
    var ends: [CInt] = [0, 0]
    try TestFile.check(pipe(&ends))
    for end in ends { try TestFile.check(fcntl(end, F_SETFD, FD_CLOEXEC)) }
    defer { close(ends[0]) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
    var words: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var child = pid_t()
    let error = posix_spawn(&child, path, &actions, nil, &words, environ)
    close(ends[1])
    guard error == 0 else { throw Errno(rawValue: error) }
    pid = child
    var byte: UInt8 = 0
    guard read(ends[0], &byte, 1) == 1 else {
      try end()
      throw MissingNeed(description: "\(program) \(arguments) did not begin")
    }
  }

  /// What it calls itself, which may be another program by now.
  var name: String { Daemon(pid: pid).name }

  /// Kills it, and waits until it is gone.
  func end() throws {
    guard !isOver else { return }
    isOver = true
    kill(pid, SIGKILL)
    try TestFile.check(waitpid(pid, nil, 0))
  }

  deinit { try? end() }
}
