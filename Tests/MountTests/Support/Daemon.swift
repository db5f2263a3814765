// The processes behind a mount, as /proc shows them.

import Glibc
import SystemPackage

/// The keeper of a mount, which has the caller's rights, and with it those that it started.
struct Daemon: Equatable, Sendable {
  let pid: pid_t

  /// The keepers whose arguments have `text` in them.
  static func find(mentioning text: String) -> [Daemon] {
    processes(mentioning: text).filter { $0.name == "cowmount" }
  }

  /// All processes of cowmounts whose arguments have `text` in them.
  static func processes(mentioning text: String) -> [Daemon] {
    let processes = ((try? entries("/proc")) ?? []).compactMap { pid_t($0) }.map { Daemon(pid: $0) }
    return processes.filter { process in
      guard process.name.hasPrefix("cowmount") else { return false }
      return (try? readText("/proc/\(process.pid)/cmdline"))?.contains(text) ?? false
    }
  }

  /// What the process calls itself.
  var name: String { (try? readText("/proc/\(pid)/comm")).map { String($0.prefix { $0 != "\n" }) } ?? "" }

  private func child(_ name: String) -> Daemon? {
    StartedServer.children(of: pid).map { Daemon(pid: $0) }.first { $0.name == name }
  }

  /// The process that serves the mount, and has no rights.
  var server: Daemon { child("cowmount-serve") ?? Daemon(pid: 0) }

  /// The process that takes the mount down.
  var guardian: Daemon { child("cowmount-guard") ?? Daemon(pid: 0) }

  /// The keeper and what it started.
  var family: [Daemon] { [guardian, self, server].filter { $0.pid > 0 } }

  /// Kills the keeper and what it started, so that nobody is left to clean up.
  func killAll() {
    // Whoever would do something about another's end goes first, and none goes on before all are told.
    let family = family
    for process in family { kill(process.pid, SIGSTOP) }
    for process in family { kill(process.pid, SIGKILL) }
  }

  /// Whether the process is there and no zombie: nobody but init waits for it.
  var isAlive: Bool {
    guard let line = try? readText("/proc/\(pid)/stat"), let name = line.lastIndex(of: ")") else { return false }
    let state = line[line.index(after: name)...].first { $0 != " " }
    return state != "Z" && state != "X"
  }

  /// Whether threads of the process are left; its first one may be a zombie already.
  var isServing: Bool { ((try? entries("/proc/\(pid)/task")) ?? []).count > 1 || isAlive }

  /// Whether its memory needs never wait for file systems (PR_SET_IO_FLUSHER); not every root may ask for that.
  func isFlusher() throws -> Bool {
    let noIO = 0x80000
    return try entries("/proc/\(pid)/task").allSatisfy { thread in
      let line = try readText("/proc/\(pid)/task/\(thread)/stat")
      let fields = line[(line.lastIndex(of: ")") ?? line.startIndex)...].split(separator: " ")
      return fields.count > 7 && (Int(fields[7]) ?? 0) & noIO != 0
    }
  }

  /// Whether the process has the right to ask for that (CAP_SYS_RESOURCE), and so should have what it starts ask.
  func mayServeReclaim() throws -> Bool {
    (UInt64(try status("CapEff"), radix: 16) ?? 0) & 1 << 24 != 0
  }

  /// A line of /proc/PID/status, without its key.
  func status(_ key: String) throws -> String {
    let line = try readText("/proc/\(pid)/status").split(separator: "\n").first { $0.hasPrefix("\(key):") }
    return line?.split(separator: "\t").dropFirst().joined(separator: " ") ?? ""
  }

  /// A line of /proc/PID/status in KiB.
  func kibibytes(_ key: String) throws -> Int {
    try status(key).split(separator: " ").first.flatMap { Int($0) } ?? -1
  }

  /// Descriptors and what they lead to.
  func descriptors() throws -> [(number: String, target: String)] {
    try entries("/proc/\(pid)/fd").map { number in
      var target = [CChar](repeating: 0, count: 4096)
      let count = readlink("/proc/\(pid)/fd/\(number)", &target, target.count)
      return (number, String(decoding: target.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
  }

  /// open(2) flags of a descriptor.
  func flags(of descriptor: String) throws -> Int {
    let line = try readText("/proc/\(pid)/fdinfo/\(descriptor)").split(separator: "\n").first {
      $0.hasPrefix("flags:")
    }
    return line.flatMap { Int($0.split(separator: "\t").last ?? "", radix: 8) } ?? -1
  }

  /// Bytes that the unnamed overlay file takes.
  func overlaySpace(in directory: String) throws -> Int {
    let server = server
    let overlay = try server.descriptors().first {
      $0.target.hasPrefix(directory + "/") && $0.target.hasSuffix("(deleted)")
    }
    guard let overlay else { throw MissingNeed(description: "process \(server.pid) has no overlay in \(directory)") }
    var result = stat()
    try TestFile.check(stat("/proc/\(server.pid)/fd/\(overlay.number)", &result))
    return Int(result.st_blocks) * 512
  }
}
