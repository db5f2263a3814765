// libfuse's messages. While a mount is being made they become part of our one error line; later they go to the log.

import CFuse
import DiskIO
import Glibc
import Logging
import Synchronization

enum FuseLog {
  private static let said = Mutex("")
  private static let takes = Mutex(true)

  /// Whether messages are kept for ``take(or:)`` instead of logged.
  static var takesOver: Bool {
    get { takes.withLock { $0 } }
    set { takes.withLock { $0 = newValue } }
  }

  /// Routes libfuse's messages here.
  static func install() {
    takesOver = true
    fuse_set_log_func { _, format, arguments in
      guard let format, let arguments else { return }
      var text = [CChar](repeating: 0, count: 1024)
      vsnprintf(&text, text.count, format, arguments)
      FuseLog.add(text.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" })
    }
  }

  private static func add(_ message: String) {
    if takesOver {
      said.withLock { $0 += message }
    } else {
      Logger(label: "libfuse").warning("\(oneLine(message))")
    }
  }

  /// Runs `body` and adds what it, or a program that it starts, writes to standard error. Only while
  /// the process has one thread.
  static func capturingStandardError<Result>(_ body: () -> Result) -> Result {
    guard let capture = try? File.scratchInMemory() else { return body() }
    let original = dup(STDERR_FILENO)
    guard original != -1 else { return body() }
    dup2(capture.descriptor, STDERR_FILENO)
    defer {
      dup2(original, STDERR_FILENO)
      close(original)
      var text = [UInt8](repeating: 0, count: 4096)
      let count = pread(capture.descriptor, &text, text.count, 0)
      add(String(decoding: text.prefix(max(0, count)), as: UTF8.self))
    }
    return body()
  }

  /// What libfuse said (it hands over a message in pieces), as one line, or `other` where it said nothing.
  static func take(or other: String) -> String {
    let text = said.withLock { said in
      defer { said = "" }
      return said
    }
    return text.isEmpty ? other : oneLine(text)
  }

  private static func oneLine(_ text: String) -> String {
    text.split(whereSeparator: \.isNewline).joined(separator: "; ")
  }
}
