// A server's process, from its start to its end, and what it says meanwhile. The life of the process is that of a pipe's end
// held here (CLinux/Server.c). There is no thread: who owns it polls its descriptors and has it hear.

internal import CLinux
internal import DiskIO
internal import Glibc
internal import SystemPackage
internal import Threads

/// A server that ends when its owner goes away. Used by one thread.
final class ServerProcess {
  private var life: File?
  private let minder: pid_t
  private let output: File
  private let reports: File
  private var line: [UInt8] = []
  private var hearsOutput = true
  private var hearsReports = true

  /// The last lines that the server wrote, for the case that it fails.
  private(set) var said: [String] = []
  /// The server's process id, once it is known.
  private(set) var pid: pid_t?
  /// How the server ended, once it has.
  private(set) var end: ServerEnd?
  /// Called with each line that the server writes.
  var report: (String) -> Void = { _ in }

  /// What is inherited.
  struct Inheritance {
    /// The listening socket.
    let socket: CInt
    /// An image, which the server finds as descriptor 4.
    var image: CInt?
    /// What it may do; nil: what this process may.
    var rights: Rights?
  }

  /// What is left to a server that reads an image: its program and libraries, the image, and nothing to write to. Root's
  /// becomes a user that is nobody else's.
  struct Rights {
    /// Whether it reads whatever else its user may.
    var readsEverything = false
    /// Whether it reads what is closed to its user, too, where this process may.
    var readsWhatIsClosed = false

    fileprivate var confinement: clinux_confinement {
      var value = clinux_confinement()
      value.role = CLINUX_ROLE_DISK_READER
      // Who cannot look into another user's process would not see which files it has open (VirtualDisk.swift).
      let user = clinux_may_change_user() != 0 ? CLINUX_UNUSED_USER : CLINUX_SAME_USER
      (value.user, value.group) = (Int64(user), Int64(user))
      value.kept_capabilities = readsWhatIsClosed ? UInt64(1) << UInt64(clinux_cap_dac_read_search) : 0
      value.reads_everything = readsEverything ? 1 : 0
      return value
    }
  }

  /// Where a server finds the image that it inherits.
  static let imagePath = "/proc/self/fd/4"
  /// Most lines that are kept.
  private static let mostLines = 20
  /// Bytes that a pipe holds (pipe(7)).
  private static let pipeSize = 64 << 10
  /// Most bytes of a line that are shown.
  private static let longestLine = 1000

  /// Starts a server.
  ///
  /// - Parameters:
  ///   - file: the program's file.
  ///   - words: its name and arguments.
  ///   - inheritance: what it gets.
  init(_ file: String, words: [String], _ inheritance: Inheritance) throws(Errno) {
    var ends: [CInt] = [0, 0]
    guard pipe(&ends) == 0 else { throw .current }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let output = File(adopting: ends[0])
    let input = File(adopting: ends[1])
    var server = clinux_server()
    let result = Self.withCommand(file, words, inheritance, output: input.descriptor) {
      clinux_start_server($0, &server)
    }
    guard result == 0 else { throw .current }
    life = File(adopting: server.life)
    minder = server.minder
    reports = File(adopting: server.report)
    self.output = output
    for descriptor in [self.output.descriptor, reports.descriptor] { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }
  }

  private static func withCommand<Result>(
    _ file: String, _ words: [String], _ inheritance: Inheritance, output: CInt,
    _ body: (UnsafePointer<clinux_server_command>) -> Result
  ) -> Result {
    var environment: [UnsafeMutablePointer<CChar>?] = []
    var variable = environ
    while let text = variable.pointee {
      // Somebody else's sockets, if any.
      if !String(cString: text).hasPrefix("LISTEN_") { environment.append(strdup(text)) }
      variable += 1
    }
    let pidName = "LISTEN_PID="
    let pid = strdup(pidName + String(repeating: " ", count: 24))
    environment += [strdup("LISTEN_FDS=1"), pid, nil]
    let arguments = words.map { $0.withCarriedCString { strdup($0) } } + [nil]
    let path = file.withCarriedCString { strdup($0) }
    defer { for text in environment + arguments + [path] { free(text) } }
    return environment.withUnsafeBufferPointer { environment in
      arguments.withUnsafeBufferPointer { arguments in
        var command = clinux_server_command()
        command.path = UnsafePointer(path)
        command.arguments = arguments.baseAddress
        command.environment = environment.baseAddress
        command.pid_text = pid.map { $0 + pidName.utf8.count }
        command.socket = inheritance.socket
        command.image = inheritance.image ?? -1
        command.output = output
        guard let rights = inheritance.rights else { return body(&command) }
        return withUnsafePointer(to: rights.confinement) {
          command.confinement = $0
          return body(&command)
        }
      }
    }
  }

  deinit {
    guard life != nil else { return }
    life = nil
    // The minder takes seconds where the server does not end by itself.
    while waitpid(minder, nil, 0) == -1, errno == EINTR {}
  }

  /// Lets go of a server that is another process's: this one was forked from it.
  func disown() { life = nil }

  // MARK: Hearing

  /// What to poll for reading.
  var descriptors: [CInt] {
    (hearsReports ? [reports.descriptor] : []) + (hearsOutput ? [output.descriptor] : [])
  }

  /// Takes what there is to hear, without waiting.
  func hear() {
    if hearsOutput { hearsOutput = hearOutput() }
    while hearsReports, let report = nextReport() { take(report) }
  }

  /// Hears until a condition holds, or the time is over.
  ///
  /// - Returns: whether it holds.
  func wait(_ time: Duration, until condition: () -> Bool) -> Bool {
    let deadline = Moment.now + time
    while !condition() {
      var waits = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      guard hearsReports, deadline > .now else { return false }
      poll(&waits, nfds_t(waits.count), deadline.milliseconds)
      hear()
    }
    return true
  }

  /// Takes what the server wrote: as much as a pipe holds, and no more, or one that never stops would not be heard to end.
  /// Returns false where nothing more can come.
  private func hearOutput() -> Bool {
    var buffer = [UInt8](repeating: 0, count: 4096)
    for _ in 0..<Self.pipeSize / buffer.count {
      let count = read(output.descriptor, &buffer, buffer.count)
      guard count > 0 else {
        if count == -1, [EAGAIN, EINTR].contains(errno) { return true }
        if !line.isEmpty { say() }
        return false
      }
      for byte in buffer[..<count] {
        if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
          say()
        } else if line.count < Self.longestLine {
          line.append(byte)
        }
      }
    }
    return true
  }

  private func say() {
    defer { line = [] }
    let text = String(decoding: line, as: UTF8.self).printable
    guard !text.isEmpty else { return }
    said.append(text)
    if said.count > Self.mostLines { said.removeFirst() }
    report(text)
  }

  /// The next report of the minder. Where that is gone, there will be no more.
  private func nextReport() -> clinux_server_report? {
    var report = clinux_server_report()
    let size = MemoryLayout.size(ofValue: report)
    let count = read(reports.descriptor, &report, size)
    if count == size { return report }
    if count == -1, [EAGAIN, EINTR].contains(errno) { return nil }
    hearsReports = false
    end = end ?? .unminded
    return nil
  }

  private func take(_ report: clinux_server_report) {
    switch Int(report.kind) {
    case Int(CLINUX_SERVER_STARTED): pid = report.value
    case Int(CLINUX_SERVER_NOT_STARTED): learn(.notStarted(Errno(rawValue: report.value)))
    case Int(CLINUX_SERVER_EXITED): learn(.exited(report.value))
    default: learn(.killed(signal: report.value))
    }
  }

  /// What is heard first counts. What the server wrote before its end is in the pipe by now.
  private func learn(_ end: ServerEnd) {
    if hearsOutput { hearsOutput = hearOutput() }
    self.end = self.end ?? end
  }
}
