// A server's process, from its start to its end, and what it says meanwhile. The life of the process is that of a pipe's end
// held here (CLinux/Server.c). A thread reads what the server writes and hears of its end.

internal import CLinux
internal import DiskIO
internal import Glibc
internal import SystemPackage

/// A server that ends when its owner goes away.
final class ServerProcess: @unchecked Sendable {
  // SAFETY: `life` is used by init and deinit only; the rest is constant or synchronises itself.
  private var life: File?
  private let minder: pid_t
  private let voice: ServerVoice

  /// What is inherited.
  struct Inheritance {
    /// The listening socket.
    let socket: CInt
    /// An image, which the server finds as descriptor 4.
    var image: CInt?
    /// What it may do; nil: what this process may.
    var confinement: Confinement?
  }

  /// What is left to a server that reads an image: its program and libraries, the image, and nothing to write to. Root's
  /// becomes a user that is nobody else's.
  struct Confinement {
    /// Whether it reads whatever else its user may.
    var readsEverything = false
    /// Whether it reads what is closed to its user, too, where this process may.
    var readsWhatIsClosed = false

    fileprivate var value: clinux_confinement {
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
    voice = ServerVoice(output: output, reports: File(adopting: server.report))
    try voice.listen()
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
    let arguments = words.map { strdup($0) } + [nil]
    let path = strdup(file)
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
        guard let confinement = inheritance.confinement else { return body(&command) }
        return withUnsafePointer(to: confinement.value) {
          command.confinement = $0
          return body(&command)
        }
      }
    }
  }

  deinit {
    voice.goQuiet()
    life = nil
    // The minder takes seconds where the server does not end by itself.
    while waitpid(minder, nil, 0) == -1, errno == EINTR {}
  }

  /// The server's process id; nil where it was not told within a time.
  func pid(within time: Duration) -> pid_t? { voice.pid(within: time) }

  /// How the server ended, if it did or does within a time.
  func end(within time: Duration) -> ServerEnd? { voice.end(within: time) }

  /// The last lines that the server wrote before ``serve(report:atEnd:)``.
  var said: [String] { voice.said }

  /// Has what the server said and says go to `report`, line by line, and `atEnd` called when it ends, if it does before its
  /// owner goes away. Both are called on a thread of their own.
  func serve(report: @escaping @Sendable (String) -> Void, atEnd: @escaping @Sendable (ServerEnd) -> Void) {
    voice.speak(report: report, atEnd: atEnd)
  }
}
