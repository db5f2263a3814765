// Confined children, and what they answer.

import CConfinementProbe
import CLinux
import Glibc
import SystemPackage
import TestSupport
import Testing

/// What a process does once it is confined.
enum Role: String, CaseIterable, Sendable, CustomTestStringConvertible {
  case server, nbdClient, networkClient, diskReader

  var value: clinux_role {
    switch self {
    case .server: CLINUX_ROLE_SERVER
    case .nbdClient: CLINUX_ROLE_NBD_CLIENT
    case .networkClient: CLINUX_ROLE_NETWORK_CLIENT
    case .diskReader: CLINUX_ROLE_DISK_READER
    }
  }

  var testDescription: String { rawValue }
}

let isRoot = geteuid() == 0

/// How a child is confined: as what, and as another user where this one may become one.
struct Child {
  var role: Role
  var isAnotherUser = isRoot
  var capabilities: UInt64 = 0
  var readable: [String] = []
  var descriptor: CInt = -1
  var readsEverything = false
  var port: CInt = 0
  var program: String?
  /// What the kernel says to who asks for Landlock; 0: the truth.
  var landlockError: CInt = 0
  /// Whether to ask to serve reclaim is its end.
  var diesOfFlusher = false
  /// The line of its user namespace's maps.
  var map: String?

  init(_ role: Role) { self.role = role }

  private func withSetting<Result>(_ body: (UnsafePointer<probe_setting>) -> Result) -> Result {
    let texts = readable.map { strdup($0) }
    let program = program.map { strdup($0) }
    let map = map.map { strdup($0) }
    defer { for text in texts + [program ?? nil, map ?? nil] { free(text) } }
    let list = texts.map { UnsafePointer($0) } + [nil]
    return list.withUnsafeBufferPointer { list in
      var confinement = clinux_confinement()
      confinement.role = role.value
      (confinement.user, confinement.group) = (-1, -1)
      confinement.kept_capabilities = capabilities
      confinement.readable = list.baseAddress
      confinement.readable_descriptor = descriptor
      confinement.reads_everything = readsEverything ? 1 : 0
      confinement.program = UnsafePointer(program ?? nil)
      confinement.tcp_port = port
      return withUnsafePointer(to: &confinement) { confinement in
        var setting = probe_setting(
          confinement: confinement, is_another_user: isAnotherUser ? 1 : 0, map: UnsafePointer(map ?? nil),
          landlock_error: landlockError, dies_of_flusher: diesOfFlusher ? 1 : 0)
        return body(&setting)
      }
    }
  }

  /// Confines a child.
  func tryToConfine() -> probe_report {
    var report = probe_report()
    withSetting { probe_confine($0, &report) }
    return report
  }

  /// Confines a child, which has to succeed.
  func confine(sourceLocation: SourceLocation = #_sourceLocation) -> probe_report {
    let report = tryToConfine()
    expectDone(report, sourceLocation)
    return report
  }

  /// Answers to calls that are not made: 0 where one is let through, else the errno.
  func answers(to calls: [probe_call], sourceLocation: SourceLocation = #_sourceLocation) -> [Int32] {
    var answers = [Int32](repeating: -1, count: calls.count)
    var report = probe_report()
    withSetting { probe_calls($0, calls, calls.count, &answers, &report) }
    expectDone(report, sourceLocation)
    return answers
  }

  /// What comes of a call of another architecture: the signal that ended the child.
  func foreign(_ kind: CInt, confined: Bool = true) -> CInt {
    var report = probe_report()
    withSetting { probe_foreign($0, kind, confined ? 1 : 0, &report) }
    return report.end
  }

  /// Does something: 0 where it succeeded, else the errno.
  func act(_ act: probe_act, _ path: String = "", _ number: CInt = 0) -> CInt {
    withSetting { probe_act($0, act, path, number) }
  }

  private func expectDone(_ report: probe_report, _ sourceLocation: SourceLocation) {
    #expect(
      report.end == 0, "it ended with \(report.end), step \(report.failedStep), error \(report.error)",
      sourceLocation: sourceLocation)
  }
}

extension probe_report {
  var failedStep: String { withUnsafeBytes(of: step) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) } }

  /// A line of /proc/PID/status, its words.
  func status(_ key: String) -> [String] {
    let text = withUnsafeBytes(of: status) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    let line = text.split(separator: "\n").first { $0.hasPrefix(key + ":") } ?? ""
    return line.split { $0 == "\t" || $0 == " " }.dropFirst().map(String.init)
  }
}

/// A directory that everybody may enter, for as long as the value lives.
final class Directory {
  private let directory: TemporaryDirectory
  var path: String { directory.path.string }

  init() throws {
    directory = try TemporaryDirectory(in: "/var/tmp")
    try #require(chmod(path, 0o755) == 0)
  }

  /// A file that everybody may write to, were it not for the confinement.
  func file(_ name: String = "file", mode: mode_t = 0o666) throws -> String {
    let descriptor = open("\(path)/\(name)", O_RDWR | O_CREAT, 0o600)
    try #require(descriptor != -1 && fchmod(descriptor, mode) == 0 && write(descriptor, "x", 1) == 1)
    close(descriptor)
    return "\(path)/\(name)"
  }
}
