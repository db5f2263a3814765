// Where messages go: standard error in the foreground, the system's log in the background.

internal import CLinux
internal import DiskIO
internal import Glibc
internal import Logging

enum Log {
  /// Sets up logging for the process, once.
  static func start(toSystem: Bool, verbose: Bool) {
    let level: Logger.Level = verbose ? .debug : .notice
    if toSystem { clinux_syslog_open("cowmount") }
    LoggingSystem.bootstrap { label in
      toSystem
        ? SystemLog(label: label, logLevel: level) as any LogHandler
        : StandardErrorLog(label: label, logLevel: level)
    }
  }
}

/// A line each on standard error, as the command's own messages look.
private struct StandardErrorLog: LogHandler {
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

  func log(event: LogEvent) {
    writeToStandardError("\(label): \("\(event.message)".printable)\n")
  }
}

/// syslog(3), facility daemon.
private struct SystemLog: LogHandler {
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

  func log(event: LogEvent) {
    let text = label == "cowmount" ? "\(event.message)" : "\(label): \(event.message)"
    clinux_syslog(Self.priority(of: event.level), text.printable)
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
