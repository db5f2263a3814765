// The server that a cowmount started for its mount, and the process that minds it.

import Glibc
import Testing

struct StartedServer: Sendable {
  let minder: Daemon
  let server: Daemon

  /// The server of a mount.
  init(of daemon: Daemon) throws {
    minder = try #require(Self.children(of: daemon.pid).first { Self.name($0) == Self.minderName }.map(Daemon.init))
    server = try #require(Self.children(of: minder.pid).first.map(Daemon.init))
  }

  private static let minderName = "nbd-minder"

  /// Minders, and so servers, of cowmounts that have `text` in their arguments.
  static func minders(mentioning text: String) -> [Daemon] {
    let processes = ((try? entries("/proc")) ?? []).compactMap { pid_t($0) }
    return processes.filter { pid in
      name(pid) == minderName && (try? readText("/proc/\(pid)/cmdline"))?.contains(text) ?? false
    }.map { Daemon(pid: $0) }
  }

  private static func name(_ pid: pid_t) -> String? {
    (try? readText("/proc/\(pid)/comm")).map { String($0.prefix { $0 != "\n" }) }
  }

  static func children(of pid: pid_t) -> [pid_t] {
    let lists = ((try? entries("/proc/\(pid)/task")) ?? []).map { thread in
      (try? readText("/proc/\(pid)/task/\(thread)/children")) ?? ""
    }
    return lists.joined(separator: " ").split(separator: " ").compactMap { pid_t($0) }
  }

  /// Both are gone soon.
  func expectGone(sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let isGone = try await eventually { !self.minder.isAlive && !self.server.isAlive }
    #expect(isGone, "the server is left", sourceLocation: sourceLocation)
  }
}

/// Runs cowmount with arguments that it must refuse, and looks that no server, and no socket of one, is left either.
func expectServerRefusal(
  _ arguments: [String], naming words: String..., status: Int32? = nil, variables: [String: String] = [:],
  sourceLocation: SourceLocation = #_sourceLocation
) async throws {
  let sockets = try sandbox.directory("runtime")
  let arguments = arguments.map { $0 == newMountpoint ? (try? sandbox.directory("mnt")) ?? "" : $0 }
  // Of a mount that has just ended, one may be about to end.
  let others = StartedServer.minders(mentioning: sandbox.path)
  let environment = ["XDG_RUNTIME_DIR": sockets].merging(variables) { $1 }
  let result = try await attempt(Host.cowmount, arguments, variables: environment, limit: .seconds(20))
  expectOneLine(result, naming: words, status: status, sourceLocation: sourceLocation)
  #expect(try entries(sockets) == [], sourceLocation: sourceLocation)
  #expect(try MountEntry.under(sandbox.path).isEmpty, sourceLocation: sourceLocation)
  // The server ended before the command did.
  let left = StartedServer.minders(mentioning: sandbox.path).filter { $0.isAlive && !others.contains($0) }
  #expect(left.isEmpty, sourceLocation: sourceLocation)
  #expect(try await eventually { Daemon.find(mentioning: sandbox.path).isEmpty }, sourceLocation: sourceLocation)
}

/// Stands for a directory to mount on, in arguments of ``expectServerRefusal(_:naming:status:variables:sourceLocation:)``.
let newMountpoint = "new mountpoint"
