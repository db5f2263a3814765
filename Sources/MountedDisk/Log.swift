// Where messages go: standard error in the foreground, the system's log in the background; and from the process without
// rights, through the keeper to either.

internal import CLinux
internal import DiskIO
internal import Glibc
internal import Logging
internal import Synchronization

/// The log of this process.
public enum Log {
  /// Where lines go.
  enum Outlet: Sendable {
    case standardError
    case system
    case keeper(KeeperLink)
  }

  private static let outlet = Mutex(Outlet.standardError)

  /// Sets up logging for the process, once.
  public static func start(toSystem: Bool, verbose: Bool) {
    let level: Logger.Level = verbose ? .debug : .notice
    if toSystem {
      clinux_syslog_open("cowmount")
      send(to: .system)
    }
    LoggingSystem.bootstrap { OutletLog(label: $0, logLevel: level) }
  }

  /// Has lines go elsewhere from now on.
  static func send(to outlet: Outlet) {
    self.outlet.withLock { $0 = outlet }
  }

  /// Logs a line.
  static func write(_ level: Logger.Level, _ label: String, _ text: String) {
    switch outlet.withLock({ $0 }) {
    case .standardError where Console.hasRoom: Console.write("\(label): \(text.printable)\n")
    // Who does not read must not keep the mount from being served and ended.
    case .standardError: break
    case .system: clinux_syslog(priority(of: level), (label == "cowmount" ? text : "\(label): \(text)").printable)
    case .keeper(let link): link.send(.log(level, label: label, text))
    }
  }

  private static func priority(of level: Logger.Level) -> CInt {
    switch level {
    case .trace, .debug: LOG_DEBUG
    case .info: LOG_INFO
    case .notice: LOG_NOTICE
    case .warning: LOG_WARNING
    case .error: LOG_ERR
    case .critical: LOG_CRIT
    }
  }
}

private struct OutletLog: LogHandler {
  let label: String
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]

  init(label: String, logLevel: Logger.Level) {
    self.label = label
    self.logLevel = logLevel
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) { Log.write(event.level, label, "\(event.message)") }
}

/// Standard error, for the user who waits for the command.
public enum Console {
  /// Writes a line that begins with the command's name.
  public static func complain(_ message: String) {
    let line = message.split(whereSeparator: \.isNewline).joined(separator: " ")
    write("cowmount: \(line.printable)\n")
  }

  /// Whether a line can be written without waiting for long: for a reader who is stopped, or a terminal.
  fileprivate static var hasRoom: Bool {
    var wait = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
    return poll(&wait, 1, 100) != 0
  }

  /// Writes all of `text`, unbuffered; who closed standard error does not want it.
  static func write(_ text: String) {
    var text = text
    text.withUTF8 { bytes in
      _ = Glibc.write(STDERR_FILENO, bytes.baseAddress, bytes.count)
    }
  }
}
