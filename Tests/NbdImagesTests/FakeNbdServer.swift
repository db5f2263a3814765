// An NBD server that misbehaves on order: the old handshake (protocol.md, "Oldstyle negotiation"), or the new one where
// answers are to come in chunks, and for each request whatever the test wants. Real servers are in MountTests; these are for what they never do, or not when one wants it.

import DiskIO
import Glibc
import SystemPackage
import TestSupport
import Threads

@testable import NbdImages

/// A server on a Unix socket, with the bytes of ``content(at:count:)``.
final class FakeNbdServer: Sendable {
  /// What becomes of a request.
  enum Answer {
    case data
    /// These parts, in this order, the last of them marked as such; only with chunks.
    case chunks([Range<UInt64>])
    case error(UInt32)
    case hangUp
    /// None, with the connection kept.
    case nothing
  }

  struct Request: Sendable {
    /// How many connections came before its own.
    let connection: Int
    let type: UInt16
    let offset: UInt64
    let count: Int
    fileprivate let handle: UInt64
  }

  private struct State {
    var size: UInt64
    var flags: UInt32 = 0b11
    var greets = true
    var listener: CInt = -1
    var connections: [CInt] = []
    var count = 0
  }

  private let directory: TemporaryDirectory
  private let state: Guarded<State>
  private let answersInOrder: Bool
  private let hasChunks: Bool
  private let greeted: @Sendable () -> Void
  private let answer: @Sendable (Request) -> Answer
  var path: FilePath { directory.path.appending("pipe") }
  var uri: String { "nbd+unix:///a/b.img?socket=\(path)" }

  /// Begins to listen.
  ///
  /// - Parameters:
  ///   - answersInOrder: whether a request is looked at only when those before it on its connection are answered.
  ///   - answer: called from a thread of each connection, or of each request.
  ///   - greeted: called when a connection stands.
  init(
    size: UInt64 = 1 << 20, allowsMoreConnections: Bool = false, greets: Bool = true,
    answersInOrder: Bool = true, hasChunks: Bool = false,
    answer: @escaping @Sendable (Request) -> Answer = { _ in .data },
    greeted: @escaping @Sendable () -> Void = {}
  ) throws {
    directory = try TemporaryDirectory()
    state = Guarded(State(size: size, flags: allowsMoreConnections ? 0x103 : 0b11, greets: greets))
    self.answersInOrder = answersInOrder
    self.hasChunks = hasChunks
    self.greeted = greeted
    self.answer = answer
    try start()
  }

  deinit { stop() }

  var connectionCount: Int { state.withLock { $0.count } }

  /// From the next connection on.
  func setSize(_ size: UInt64) { state.withLock { $0.size = size } }

  static func content(at offset: UInt64, count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: (offset + UInt64($0)) &* 0x9E37_79B9 >> 7) }
  }

  /// Listens again.
  func start() throws {
    let listener = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.string.utf8) }
    unlink(path.string)
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard bound == 0, listen(listener, 16) == 0 else { throw Errno.current }
    state.withLock { $0.listener = listener }
    // The server ends when the test lets go of it.
    inBackground { [weak self] in
      while case let connection = accept(listener, nil, nil), connection >= 0 {
        guard let self else { break }
        let number = state.withLock { state in
          state.connections.append(connection)
          state.count += 1
          return state.count - 1
        }
        inBackground { self.serve(connection, number) }
      }
      close(listener)
    }
  }

  /// Goes away, with all connections.
  func stop() {
    state.withLock { state in
      shutdown(state.listener, CInt(SHUT_RDWR))
      for connection in state.connections { shutdown(connection, CInt(SHUT_RDWR)) }
      state.connections = []
    }
    unlink(path.string)
  }

  // MARK: Protocol

  private func serve(_ connection: CInt, _ number: Int) {
    let socket = Connection(connection)
    let (size, flags, greets) = state.withLock { ($0.size, $0.flags, $0.greets) }
    if greets, hasChunks {
      guard agree(socket, size) else { return }
    } else if greets {
      let greeting = bytes(0x4e42_444d_4147_4943 as UInt64) + bytes(0x0000_4202_8186_1253 as UInt64) + bytes(size)
      send(socket, greeting + bytes(flags) + [UInt8](repeating: 0, count: 124))
    }
    greeted()
    while let request = receive(socket, number) {
      if answersInOrder {
        react(to: request, socket)
      } else {
        inBackground { self.react(to: request, socket) }
      }
    }
    state.withLock { $0.connections.removeAll { $0 == connection } }
  }

  private func react(to request: Request, _ socket: Connection) {
    switch answer(request) {
    case .nothing: break
    case .hangUp: shutdown(socket.file.descriptor, CInt(SHUT_RDWR))
    case .chunks(let ranges):
      for (index, range) in ranges.enumerated() {
        let isLast: UInt16 = index == ranges.count - 1 ? 1 : 0
        let head = bytes(0x668e_33ef as UInt32) + bytes(isLast) + bytes(1 as UInt16) + bytes(request.handle)
        let data = Self.content(at: range.lowerBound, count: range.count)
        send(socket, head + bytes(UInt32(8 + data.count)) + bytes(range.lowerBound) + data)
      }
    case .data: reply(socket, request, 0, Self.content(at: request.offset, count: request.count))
    case .error(let error): reply(socket, request, error, [])
    }
  }

  /// The new handshake (protocol.md, "Fixed newstyle negotiation"), with structured replies and no other option.
  private func agree(_ socket: Connection, _ size: UInt64) -> Bool {
    let option = 0x4948_4156_454f_5054 as UInt64
    send(socket, bytes(0x4e42_444d_4147_4943 as UInt64) + bytes(option) + bytes(3 as UInt16))
    guard receive(socket, count: 4) != nil else { return false }
    while let head = receive(socket, count: 16) {
      let kind: UInt32 = integer(in: head, at: 8)
      guard receive(socket, count: Int(integer(in: head, at: 12) as UInt32)) != nil else { return false }
      func reply(_ type: UInt32, _ data: [UInt8] = []) {
        send(
          socket,
          bytes(0x0003_e889_0455_65a9 as UInt64) + bytes(kind) + bytes(type) + bytes(UInt32(data.count)) + data)
      }
      switch kind {
      case 8: reply(1)
      case 7:
        reply(3, bytes(0 as UInt16) + bytes(size) + bytes(3 as UInt16))
        reply(1)
        return true
      default: reply(0x8000_0001)
      }
    }
    return false
  }

  private func receive(_ socket: Connection, count: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    // Which would wait for a byte all the same.
    guard count > 0 else { return bytes }
    guard recv(socket.file.descriptor, &bytes, count, CInt(MSG_WAITALL)) == count else { return nil }
    return bytes
  }

  private func integer<Number: FixedWidthInteger>(in bytes: [UInt8], at place: Int) -> Number {
    bytes[place..<place + Number.bitWidth / 8].reduce(0) { $0 << 8 | Number($1) }
  }

  private func receive(_ socket: Connection, _ number: Int) -> Request? {
    guard let bytes = receive(socket, count: 28) else { return nil }
    let type: UInt16 = integer(in: bytes, at: 6)
    // NBD_CMD_DISC
    guard type != 2 else { return nil }
    return Request(
      connection: number, type: type, offset: integer(in: bytes, at: 16),
      count: Int(integer(in: bytes, at: 24) as UInt32), handle: integer(in: bytes, at: 8))
  }

  private func reply(_ socket: Connection, _ request: Request, _ error: UInt32, _ data: [UInt8]) {
    send(socket, bytes(0x6744_6698 as UInt32) + bytes(error) + bytes(request.handle) + data)
  }

  private func send(_ socket: Connection, _ bytes: [UInt8]) {
    socket.sending.withLock {
      _ = Glibc.send(socket.file.descriptor, bytes, bytes.count, CInt(MSG_NOSIGNAL))
    }
  }

  private func bytes(_ number: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: number.bigEndian) { Array($0) }
  }
}

/// A socket, closed when the last thread is done with it. Answers are sent one at a time.
private final class Connection: Sendable {
  let file: File
  let sending = Lock()

  init(_ descriptor: CInt) { file = File(adopting: descriptor) }
}
