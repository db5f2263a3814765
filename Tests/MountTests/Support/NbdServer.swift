// Servers of the distribution for an image: nbdkit and qemu-nbd, on a Unix socket or a port of the loopback device.

import Glibc
import Testing

/// A server in the background, which is killed when the test ends.
final class NbdServer: Sendable {
  /// The name of the file that a mount of any of these servers exposes.
  static let fileName = "export.img"

  /// What a server is and where it listens.
  enum Kind: Sendable, CustomTestStringConvertible {
    case nbdkit, nbdkitOnTCP, qemu, qemuOnTCP

    fileprivate var isQemu: Bool { self == .qemu || self == .qemuOnTCP }
    fileprivate var isOnTCP: Bool { self == .nbdkitOnTCP || self == .qemuOnTCP }
    var testDescription: String { "\(self)" }
  }

  let uri: String
  private let program: String
  private let arguments: [String]
  private let directory: String
  private var pidFile: String { directory + "/pid" }
  var socket: String { directory + "/socket" }

  /// Serves `image` from now on.
  ///
  /// - Parameters:
  ///   - options: of the program.
  ///   - settings: what nbdkit's filters are told, behind what is served.
  init(_ kind: Kind, _ image: Image, _ options: String..., settings: [String] = []) async throws {
    let place = try Place(isOnTCP: kind.isOnTCP)
    (uri, directory) = (place.uri, place.directory)
    let options = options + ["--read-only", "--pid-file=\(directory)/pid"]
    if kind.isQemu {
      program = "qemu-nbd"
      let address = place.port.map { ["--bind=127.0.0.1", "--port=\($0)"] } ?? ["--socket=\(directory)/socket"]
      arguments = address + options + ["--fork", "--persistent", "--format=raw", "-x", Self.fileName, image.path]
    } else {
      program = "nbdkit"
      arguments = place.nbdkit + options + ["file", image.path] + settings
    }
    try await begin()
  }

  /// nbdkit with any plugin: its name and what it is given.
  init(nbdkit options: [String], plugin: String...) async throws {
    let place = try Place(isOnTCP: false)
    (uri, directory) = (place.uri, place.directory)
    program = "nbdkit"
    arguments = place.nbdkit + ["--read-only", "--pid-file=\(directory)/pid"] + options + plugin
    try await begin()
  }

  private struct Place {
    let uri: String
    let directory: String
    let port: Int?

    init(isOnTCP: Bool) throws {
      directory = try sandbox.directory("server")
      port = isOnTCP ? try Self.freePort() : nil
      uri =
        port.map { "nbd://127.0.0.1:\($0)/\(NbdServer.fileName)" }
        ?? "nbd+unix:///\(NbdServer.fileName)?socket=\(directory)/socket"
    }

    var nbdkit: [String] {
      port.map { ["--ipaddr=127.0.0.1", "--port=\($0)"] } ?? ["--unix=\(directory)/socket"]
    }

    /// One that nobody used a moment ago.
    private static func freePort() throws -> Int {
      let probe = Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
      defer { close(probe) }
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
      var length = socklen_t(MemoryLayout<sockaddr_in>.size)
      try withUnsafeMutablePointer(to: &address) {
        try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          try TestFile.check(bind(probe, $0, length))
          try TestFile.check(getsockname(probe, $0, &length))
        }
      }
      return Int(UInt16(bigEndian: address.sin_port))
    }
  }

  /// Starts the program, again where it was killed. It listens when this returns.
  func begin() async throws {
    unlink(socket)
    unlink(pidFile)
    let result = try await attempt(program, arguments, limit: .seconds(20))
    guard result.succeeded else { throw CommandFailure(result: result) }
    // qemu-nbd writes it a moment later.
    let hasNumber = try await eventually { self.pid != nil }
    #expect(hasNumber, "\(program) wrote no \(pidFile)")
    let pid = pid
    sandbox.atEnd {
      if let pid, kill(pid, 0) == 0 { kill(pid, SIGKILL) }
    }
  }

  private var pid: pid_t? { (try? readText(pidFile)).flatMap { pid_t($0.prefix { $0 != "\n" }) } }

  /// Sends it a signal. A killed one is gone when this returns.
  func send(_ signal: CInt) async throws {
    let pid = try #require(pid)
    try TestFile.check(kill(pid, signal))
    guard signal == SIGKILL else { return }
    #expect(try await eventually { !Daemon(pid: pid).isServing })
  }
}
