// The command that a mount is for. It has the terminal, the caller's descriptors, and signals as the caller had them; the
// keeper waits for it and passes on what it is sent, as env(1) would have it if it stayed.

internal import CLinux
internal import DiskIO
internal import Glibc
internal import SystemPackage

/// A command with a disk. Used by one thread.
final class RunningCommand: MountListener {
  private let words: [String]
  private let inheritance: Inheritance
  private var id: pid_t?
  /// What it ended with, as shells count: a signal is 128 and its number. 126 and 127 where it could not be started. nil while
  /// it runs, and before.
  private(set) var status: CInt?

  /// - Parameter words: the program and its arguments.
  init(_ words: [String], _ inheritance: Inheritance) {
    self.words = words
    self.inheritance = inheritance
  }

  /// What messages call it.
  var name: String { words.first ?? "" }

  /// Whether it was started and has not ended.
  var isRunning: Bool {
    reap()
    return id != nil && status == nil
  }

  /// Signals that are its own business, besides those that end a mount.
  static let signals = [SIGQUIT]

  /// Keeps signals waiting from here on, until somebody hears them.
  static func holdSignals() {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in Events.endings + signals { sigaddset(&set, signal) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  /// What a process has that it does not keep for itself, and its command shall have.
  struct Inheritance {
    private var mask = sigset_t()
    private var ignored: [CInt] = []
    private var limits: [rlimit] = []
    private static let changed = [SIGPIPE, SIGXFSZ]
    private static let raised = [RLIMIT_FSIZE, RLIMIT_NOFILE].map { __rlimit_resource_t($0.rawValue) }

    /// Takes note of what this process has now.
    init() {
      pthread_sigmask(SIG_SETMASK, nil, &mask)
      limits = Self.raised.map { resource in
        var limit = rlimit()
        getrlimit(resource, &limit)
        return limit
      }
      ignored = Self.changed.filter { clinux_ignores($0) != 0 }
    }

    /// Gives it back.
    fileprivate mutating func restore() {
      for number in Self.changed { signal(number, ignored.contains(number) ? SIG_IGN : SIG_DFL) }
      for (resource, limit) in zip(Self.raised, limits) {
        var limit = limit
        setrlimit(resource, &limit)
      }
      pthread_sigmask(SIG_SETMASK, &mask, nil)
    }
  }

  // MARK: Starting

  func begin(with file: FilePath) throws -> Bool {
    var ends: [CInt] = [0, 0]
    guard pipe(&ends) == 0 else { throw Errno.current }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let failure = File(adopting: ends[0])
    let path = file.carrier
    let arguments = words.map { $0.replacing("{}", with: path) }
    let parent = getpid()
    fflush(nil)
    let id = fork()
    guard id != -1 else {
      close(ends[1])
      throw MountFailure("cannot start \(name): \(Errno.current)")
    }
    if id == 0 { become(arguments, path, child: parent, ends[1]) }
    self.id = id
    close(ends[1])
    guard let error = Self.takeError(failure) else { return true }
    while waitpid(id, nil, 0) == -1, errno == EINTR {}
    // As env(1) has it.
    status = error == .noSuchFileOrDirectory ? 127 : 126
    Console.complain("cannot run \(arguments.first ?? ""): \(error)")
    return false
  }

  /// Why the program could not be executed; nil once it is.
  private static func takeError(_ pipe: borrowing File) -> Errno? {
    var number: CInt = 0
    var count = 0
    repeat {
      count = read(pipe.descriptor, &number, MemoryLayout.size(ofValue: number))
    } while count == -1 && errno == EINTR
    return count == MemoryLayout.size(ofValue: number) ? Errno(rawValue: number) : nil
  }

  /// In the child.
  private func become(_ arguments: [String], _ file: String, child parent: pid_t, _ failure: CInt) -> Never {
    // Without its disk it has nothing to do.
    clinux_end_with_parent(SIGTERM)
    guard getppid() == parent else { _exit(1) }
    _ = file.withCarriedCString { setenv("COWMOUNT_FILE", $0, 1) }
    let words = arguments.map { $0.withCarriedCString { strdup($0) } } + [nil]
    var inheritance = inheritance
    inheritance.restore()
    if let program = words[0] { execvp(program, words) }
    var number = errno
    _ = write(failure, &number, MemoryLayout.size(ofValue: number))
    _exit(127)
  }

  // MARK: Running

  func takes(_ signal: CInt, ofTerminal: Bool) -> Bool {
    guard isRunning, let id else { return false }
    if !ofTerminal { kill(id, signal) }
    return true
  }

  var wantsMount: Bool { isRunning }

  private func reap() {
    guard let id, status == nil else { return }
    var result: CInt = 0
    guard waitpid(id, &result, WNOHANG) == id else { return }
    status = result & 0x7f == 0 ? (result >> 8) & 0xff : 128 + result & 0x7f
  }

  // MARK: Ending

  func prepareToEnd() {}

  /// Asks it to end.
  func end() {
    if isRunning, let id { kill(id, SIGTERM) }
  }

  func leave() -> CInt {
    end()
    return status ?? 1
  }
}
