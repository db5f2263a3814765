// Going to the background. The process forks before it has anything to share; the child does all the work, and the parent
// waits until the child says that the mount can be used, or ends with the child's status. So a failure is told on the user's
// terminal and in the exit status, and success means ready.

internal import DiskIO
internal import Glibc
internal import SystemPackage

/// The child's side.
final class Background {
  private let readyPipe: CInt

  /// Forks. Returns in the child only; the parent exits here.
  static func enter() throws -> Background {
    var pipeEnds: [CInt] = [0, 0]
    guard pipe(&pipeEnds) == 0 else { throw Errno.current }
    for end in pipeEnds { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let child = fork()
    guard child >= 0 else { throw Errno.current }
    if child > 0 {
      close(pipeEnds[1])
      waitInParent(for: child, on: pipeEnds[0])
    }
    close(pipeEnds[0])
    // Away from the terminal and its signals. A user who interrupts the wait has the parent killed; the child notices
    // by the pipe.
    setsid()
    return Background(readyPipe: pipeEnds[1])
  }

  private init(readyPipe: CInt) {
    self.readyPipe = readyPipe
  }

  private static func waitInParent(for child: pid_t, on pipe: CInt) -> Never {
    var byte: UInt8 = 0
    var count = 0
    repeat { count = read(pipe, &byte, 1) } while count == -1 && errno == EINTR
    if count == 1 { _exit(0) }
    var status: CInt = 0
    while waitpid(child, &status, 0) == -1, errno == EINTR {}
    let exited = status & 0x7f == 0
    if !exited { Console.complain("the background process was killed by signal \(status & 0x7f)") }
    _exit(exited ? (status >> 8) & 0xff : 1)
  }

  /// A descriptor that has an error to poll for when nobody waits any more.
  var descriptor: CInt { readyPipe }

  /// Lets go of terminal and directory, and has the parent exit with success.
  ///
  /// - Returns: false where nobody waits any more: the user gave up, so the mount is not wanted.
  func ready() -> Bool {
    chdir("/")
    leadStandardDescriptorsNowhere()
    var byte: UInt8 = 1
    defer { close(readyPipe) }
    return write(readyPipe, &byte, 1) == 1
  }
}
