// The process that looks at bytes from outside, as the keeper has it: forked while there is one thread, with the descriptors
// that it needs and no others, and without any rights before it runs anything of its own.

internal import CLinux
internal import DiskIO
internal import Glibc
internal import SystemPackage

/// A process without rights.
final class ConfinedProcess {
  let id: pid_t
  let socket: MessageSocket

  private init(id: pid_t, socket: MessageSocket) {
    self.id = id
    self.socket = socket
  }

  /// Starts one.
  ///
  /// - Parameters:
  ///   - kept: descriptors that it keeps, besides the first three.
  ///   - standard: whether it keeps those, too; else they lead to /dev/null.
  ///   - confinement: what it may still do.
  ///   - prepare: what it does before it gives up its rights. Reads no byte from outside.
  ///   - body: what it does without them. The process ends with the status that this returns.
  static func start(
    keeping kept: [CInt], standard: Bool, _ confinement: Confinement, prepare: () throws -> Void,
    body: (KeeperLink) -> CInt
  ) throws(Errno) -> ConfinedProcess {
    let (mine, its) = try MessageSocket.pair()
    let parent = getpid()
    fflush(nil)
    let id = fork()
    guard id != -1 else { throw .current }
    guard id == 0 else { return ConfinedProcess(id: id, socket: mine) }
    clinux_stand_apart("cowmount-serve")
    // What it logs from here on, the keeper writes.
    let link = KeeperLink(its)
    Log.send(to: .keeper(link))
    let descriptors = (kept + [its.descriptor]).sorted()
    clinux_close_others(descriptors, CInt(descriptors.count))
    if !standard { leadStandardDescriptorsNowhere() }
    chdir("/")
    // A descriptor for each layer.
    ResourceLimit.raise(RLIMIT_NOFILE)
    do {
      try prepare()
      try confinement.enter()
    } catch {
      link.send(.failed(text: "\(error)", isUsage: false, serverMayHaveEnded: false))
      _exit(1)
    }
    // The keeper may have ended before the kernel was asked to kill this process then.
    guard getppid() == parent else { _exit(1) }
    let status = body(link)
    fflush(nil)
    _exit(status)
  }

  /// Sends a message. Does not wait for a process that does not listen: the keeper has to hear others.
  ///
  /// - Returns: whether it was sent.
  @discardableResult
  func send(_ message: KeeperMessage, passing descriptor: CInt = -1) -> Bool {
    socket.send(message.wire, passing: descriptor, canBeDropped: true)
  }

  /// Kills it, and waits until it is gone. Not for a process that may be in an uninterruptible wait (D): the caller would
  /// wait with it.
  func kill() {
    Glibc.kill(id, SIGKILL)
    while waitpid(id, nil, 0) == -1, errno == EINTR {}
  }
}

/// Leads standard input, output and error to /dev/null.
func leadStandardDescriptorsNowhere() {
  let null = open("/dev/null", O_RDWR | O_CLOEXEC)
  guard null != -1 else { return }
  // Replaced and not closed first: meanwhile their numbers could become another file's.
  for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] { dup2(null, descriptor) }
  if null > STDERR_FILENO { close(null) }
}

/// What a process may still do (CLinux/Confinement.h).
struct Confinement: Sendable {
  /// What it does.
  var role: clinux_role
  /// Who it becomes, where this process may change its user; nil: a number that nobody else has.
  var identity: (user: uid_t, group: gid_t)?
  /// Files and directories that it may read, where its role is to open any.
  var readable: [FilePath] = []

  /// Gives up all else, for good.
  func enter() throws(ConfinementError) {
    var confinement = clinux_confinement()
    confinement.role = role
    let mayChange = clinux_may_change_user() != 0
    let usual = Int64(mayChange ? CLINUX_UNUSED_USER : CLINUX_SAME_USER)
    confinement.user = mayChange ? identity.map { Int64($0.user) } ?? usual : usual
    confinement.group = mayChange ? identity.map { Int64($0.group) } ?? usual : usual
    confinement.readable_descriptor = -1
    confinement.death_signal = SIGKILL
    var paths: [UnsafePointer<CChar>?] = readable.map { path in path.withPlatformString { UnsafePointer(strdup($0)) } }
    paths.append(nil)
    defer { for path in paths { free(UnsafeMutablePointer(mutating: path)) } }
    var confined = clinux_confined()
    let result = paths.withUnsafeBufferPointer { paths in
      confinement.readable = paths.baseAddress
      return clinux_confine(&confinement, &confined)
    }
    guard result == 0 else {
      throw ConfinementError(
        step: confined.failed_step.map { String(cString: $0) } ?? "give up its rights", error: .current)
    }
  }
}

/// A process that could not give up all of its rights.
struct ConfinementError: Error, CustomStringConvertible {
  let step: String
  let error: Errno

  var description: String {
    """
    the process that reads the image cannot \(step): \(error); it does not run with more rights than it needs, so see \
    what keeps it from giving them up (an old kernel, a container's own filter)
    """
  }
}
