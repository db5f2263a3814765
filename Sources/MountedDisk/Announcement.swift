// Who is told that a mount can be used and that it ends: the process that waits for the command, and those that the user
// named.

internal import DiskIO
internal import Glibc
internal import SystemPackage

/// Those who hear of a mount at a place of the user's.
final class Announcement: MountListener {
  private let pidFile: PidFile?
  private let ready: ReadyDescriptor?
  private let manager: ServiceManager?
  private let background: Background?

  init(pidFile: PidFile?, _ ready: ReadyDescriptor?, _ manager: ServiceManager?, _ background: Background?) {
    self.pidFile = pidFile
    self.ready = ready
    self.manager = manager
    self.background = background
  }

  func begin(with file: FilePath) throws -> Bool {
    try pidFile?.write()
    // Whoever waits for the first process finds it told, too.
    ready?.tell()
    if let background, !background.ready() { return false }
    manager?.tell("READY=1", "MAINPID=\(getpid())", "STATUS=\(file) is writable")
    return true
  }

  func takes(_ signal: CInt, ofTerminal: Bool) -> Bool { false }

  var wantsMount: Bool { true }

  func prepareToEnd() { manager?.tell("STOPPING=1", "STATUS=unmounting") }

  func leave() -> CInt {
    pidFile?.remove()
    return 0
  }
}

/// A descriptor of the caller's that is told when a mount can be used. Closed without a word, it means that it never will.
final class ReadyDescriptor {
  private var file: File?

  /// The descriptor; -1 once it was told.
  var descriptor: CInt { file?.descriptor ?? -1 }

  /// Takes over a descriptor: it is open under another number from then on, which no program inherits.
  init(_ number: CInt) throws(MountFailure) {
    let flags = fcntl(number, F_GETFL)
    guard flags != -1, [O_WRONLY, O_RDWR].contains(flags & O_ACCMODE) else {
      throw MountFailure(
        "--ready-fd \(number) is no descriptor that is open for writing; open it, as in \(number)>file")
    }
    let own = fcntl(number, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)
    guard own != -1 else { throw MountFailure("--ready-fd \(number) cannot be used: \(Errno.current)") }
    file = File(adopting: own)
    guard number <= STDERR_FILENO else {
      close(number)
      return
    }
    // Nothing else shall get its number.
    let null = open("/dev/null", O_RDWR | O_CLOEXEC)
    dup2(null, number)
    close(null)
  }

  /// Writes a newline, and closes it.
  func tell() {
    guard let descriptor = file?.descriptor else { return }
    while write(descriptor, "\n", 1) == -1, errno == EINTR {}
    file = nil
  }
}
