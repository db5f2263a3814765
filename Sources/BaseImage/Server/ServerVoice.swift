// What a server says, on its standard output and error, and what its minder reports of it.

internal import CLinux
internal import DiskIO
internal import Glibc
internal import SystemPackage

/// Listens to a server until it is gone.
final class ServerVoice: @unchecked Sendable {
  // SAFETY: what changes is used under `lock` only, but for `line`, which is the listening thread's.
  private let output: File
  private let reports: File
  private let lock = Lock()
  private let condition = Condition()
  private var known = State()
  private var line: [UInt8] = []

  private struct State {
    var pid: pid_t?
    var end: ServerEnd?
    /// Nothing more will come.
    var isOver = false
    var isQuiet = false
    var lines: [String] = []
    var report: (@Sendable (String) -> Void)?
    var atEnd: (@Sendable (ServerEnd) -> Void)?
  }

  /// Most lines that are kept for the case that the server fails.
  private static let mostLines = 20
  /// Bytes that a pipe holds (pipe(7)).
  private static let pipeSize = 64 << 10
  /// Most bytes of a line that are shown.
  private static let longestLine = 1000

  init(output: consuming File, reports: consuming File) {
    self.output = output
    self.reports = reports
    for descriptor in [self.output.descriptor, self.reports.descriptor] { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }
  }

  /// Starts the thread, which keeps this alive until the server is gone.
  func listen() throws(Errno) {
    let voice = Unmanaged.passRetained(self)
    var thread = pthread_t()
    // Signals are for the thread that serves the mount.
    var all = sigset_t()
    var before = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before)
    let error = pthread_create(
      &thread, nil,
      { voice in
        // As the other threads of a mount, but it needs no right at all.
        _ = clinux_set_io_flusher()
        _ = clinux_keep_capabilities(0)
        _ = clinux_refuse_calls()
        if let voice { Unmanaged<ServerVoice>.fromOpaque(voice).takeRetainedValue().hearAll() }
        return nil
      }, voice.toOpaque())
    pthread_sigmask(SIG_SETMASK, &before, nil)
    guard error == 0 else {
      voice.release()
      throw Errno(rawValue: error)
    }
    pthread_detach(thread)
  }

  // MARK: For the owner

  /// The server may answer before its minder has told of it.
  func pid(within time: Duration) -> pid_t? {
    let deadline = Moment.now + time
    lock.take()
    defer { lock.leave() }
    while known.pid == nil, !known.isOver, deadline > Moment.now { condition.wait(lock, until: deadline) }
    return known.pid
  }

  var said: [String] { lock.withLock { known.lines } }

  func end(within time: Duration) -> ServerEnd? {
    let deadline = Moment.now + time
    lock.take()
    defer { lock.leave() }
    while known.end == nil, !known.isOver, deadline > Moment.now { condition.wait(lock, until: deadline) }
    return known.end
  }

  /// Tells nobody anything any more.
  func goQuiet() {
    // What the closures hold may end when they go, which must not be under the lock.
    let closures = lock.withLock {
      known.isQuiet = true
      defer { (known.report, known.atEnd) = (nil, nil) }
      return (known.report, known.atEnd)
    }
    _ = closures
  }

  func speak(report: @escaping @Sendable (String) -> Void, atEnd: @escaping @Sendable (ServerEnd) -> Void) {
    let (lines, end) = lock.withLock {
      known.report = report
      known.atEnd = atEnd
      defer { known.lines = [] }
      return (known.lines, known.end)
    }
    for line in lines { report(line) }
    if let end { atEnd(end) }
  }

  // MARK: The thread

  private func hearAll() {
    var isHeard = true
    while true {
      var waits = (
        pollfd(fd: reports.descriptor, events: Int16(POLLIN), revents: 0),
        pollfd(fd: isHeard ? output.descriptor : -1, events: Int16(POLLIN), revents: 0)
      )
      let count = withUnsafeMutablePointer(to: &waits) {
        // SAFETY: a tuple of two of a kind has them one behind the other.
        $0.withMemoryRebound(to: pollfd.self, capacity: 2) { poll($0, 2, -1) }
      }
      guard count > 0 else { continue }
      // Before the end is told, so that the last words are known then.
      if isHeard { isHeard = hear() }
      if waits.0.revents != 0, !takeReport() { break }
    }
    if !line.isEmpty { say() }
    learn(.unminded)
    lock.withLock {
      known.isOver = true
      condition.signal()
    }
  }

  /// Takes what the server wrote: as much as a pipe holds, and no more, or one that never stops would not be heard to end.
  /// Returns false where nothing more can come.
  private func hear() -> Bool {
    var buffer = [UInt8](repeating: 0, count: 4096)
    for _ in 0..<Self.pipeSize / buffer.count {
      let count = read(output.descriptor, &buffer, buffer.count)
      guard count > 0 else { return count == -1 && [EAGAIN, EINTR].contains(errno) }
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
    let report = lock.withLock { () -> (@Sendable (String) -> Void)? in
      if known.isQuiet { return nil }
      if known.report == nil {
        known.lines.append(text)
        if known.lines.count > Self.mostLines { known.lines.removeFirst() }
      }
      return known.report
    }
    report?(text)
  }

  /// Takes a report of the minder. Returns false where the minder is gone.
  private func takeReport() -> Bool {
    var report = clinux_server_report()
    let size = MemoryLayout.size(ofValue: report)
    let count = read(reports.descriptor, &report, size)
    guard count == size else { return count == -1 && [EAGAIN, EINTR].contains(errno) }
    // What it wrote before its end is in the pipe by now.
    _ = hear()
    switch Int(report.kind) {
    case Int(CLINUX_SERVER_STARTED):
      lock.withLock {
        known.pid = report.value
        condition.signal()
      }
    case Int(CLINUX_SERVER_NOT_STARTED): learn(.notStarted(Errno(rawValue: report.value)))
    case Int(CLINUX_SERVER_EXITED): learn(.exited(report.value))
    default: learn(.killed(signal: report.value))
    }
    return true
  }

  /// What is heard first counts.
  private func learn(_ end: ServerEnd) {
    let atEnd = lock.withLock { () -> (@Sendable (ServerEnd) -> Void)? in
      guard known.end == nil else { return nil }
      known.end = end
      condition.signal()
      defer { known.atEnd = nil }
      return known.atEnd
    }
    atEnd?(end)
  }
}
