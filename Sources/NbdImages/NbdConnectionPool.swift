// The connections to one server, however many, and what happens when it goes away.
//
// Readers never connect. They take a connection that stands, the one with the least to do; where all are busy and the
// server allows more, or where none stands, a thread of its own (the connector) connects while they go on or wait. The
// connector lives as long as there is something to connect: it tries again and again, with pauses that grow, also when
// readers have long given up, so that a server that comes back is found at once.
//
//     connections  connector  a read
//     some         none       is served; where that loses the connection, it takes another
//     none         runs       waits until `reconnect` after the loss; then it fails, and so do later ones, at once
//     none, other  runs       fails at once: what came back is another export than was mounted
//
// `lock` guards all of it, and is never held while something is sent, connected or logged.

internal import Glibc
internal import Synchronization
internal import SystemPackage
internal import Threads

/// Connections that any number of threads share, to a server that may go away and come back.
final class NbdConnectionPool: @unchecked Sendable {
  // SAFETY: what changes is used under `lock` only.
  private let library: NbdLibrary
  private let uri: NbdURI
  private let options: NbdImage.Options
  /// As it was when it was first reached.
  let export: NbdExport

  private let lock = Lock()
  private let condition = Condition()
  private var connections: [NbdConnection]
  /// How many connections there should be.
  private var wanted = 1
  private let most: Int
  /// Before this time no more connections are tried beside those that stand.
  private var noMoreBefore: Moment?
  /// When the last connection was lost; nil while there is one.
  private var lostSince: Moment?
  /// What is wrong with the server that came back.
  private var difference: String?
  private var isConnecting = false
  private var isEnding = false

  private static let pauses = (first: Duration.milliseconds(100), longest: Duration.seconds(2))
  /// How long to do with the connections that there are, when one more cannot be had.
  private static let contentment = Duration.seconds(30)
  /// Most connections where the user does not say.
  private static let usualMost = 8

  /// Reaches a server.
  init(_ uri: NbdURI, _ options: NbdImage.Options) throws(NbdProblem) {
    self.uri = uri
    self.options = options
    library = try NbdLibrary()
    let (handle, export) = try NbdHandshake.connect(library, uri, within: options.handshake)
    self.export = export
    connections = [try NbdConnection(handle, silence: options.silence)]
    most = options.connections ?? (export.allowsMoreConnections ? Self.usualMost : 1)
  }

  // MARK: For readers

  /// Makes a request, again where its connection is lost.
  ///
  /// - Throws: `.ioError` where the server refuses it, or has been away for too long.
  func perform(_ request: (NbdConnection) -> NbdOutcome) throws(Errno) {
    // A server that dies of this very request comes back each time.
    var firstLoss: Moment?
    while let connection = connection(lostFirst: firstLoss) {
      switch request(connection) {
      case .done: return
      case .refused: throw .ioError
      case .lost:
        firstLoss = firstLoss ?? Moment.now
        remove(connection)
      }
    }
    throw .ioError
  }

  /// What is different about the server from when it was first reached.
  var change: String? { lock.withLock { difference } }

  /// Whether there is no connection.
  var isAway: Bool { lock.withLock { connections.isEmpty } }

  /// Has readers wait no longer.
  func end() {
    let connections = lock.withLock {
      isEnding = true
      condition.signal()
      return self.connections
    }
    for connection in connections { connection.end(by: Moment.now + options.grace) }
  }

  private func connection(lostFirst: Moment?) -> NbdConnection? {
    lock.take()
    defer { lock.leave() }
    while true {
      if let lostFirst, lostFirst + options.reconnect <= Moment.now { return nil }
      if let connection = leastBusy() { return connection }
      guard difference == nil, !isEnding, let lostSince else { return nil }
      startConnector()
      let deadline = (lostFirst ?? lostSince) + options.reconnect
      guard deadline > Moment.now else { return nil }
      condition.wait(lock, until: deadline)
    }
  }

  /// The connection with the least to do. Where that is something, one more is asked for.
  private func leastBusy() -> NbdConnection? {
    var found: NbdConnection?
    var least = Int.max
    for connection in connections {
      let load = connection.load.load(ordering: .relaxed)
      if load < least { (found, least) = (connection, load) }
      if load == 0 { return found }
    }
    if found != nil, connections.count < most, !isConnecting, !isEnding, noMoreBefore.map({ $0 <= Moment.now }) ?? true
    {
      wanted = connections.count + 1
      startConnector()
    }
    return found
  }

  /// Takes a lost connection away. Others that are idle are likely to be dead, too, and nobody would know for long.
  private func remove(_ connection: NbdConnection) {
    let reason = connection.reasonOfLoss
    // Their ends, which may send something, come when this goes out of scope.
    var removed: [NbdConnection] = []
    let isNews = lock.withLock {
      guard connections.contains(where: { $0 === connection }) else { return false }
      removed = connections.filter { $0 === connection || $0.load.load(ordering: .relaxed) == 0 }
      connections.removeAll { candidate in removed.contains { $0 === candidate } }
      guard connections.isEmpty else { return false }
      lostSince = Moment.now
      wanted = 1
      if !isEnding { startConnector() }
      return !isEnding
    }
    if isNews { options.report("the connection to \(uri.text) was lost (\(reason)); trying to get it back") }
    removed = []
  }

  // MARK: The connector

  /// Only under the lock.
  private func startConnector() {
    guard !isConnecting else { return }
    isConnecting = true
    do {
      pthread_detach(try startThread { self.connect() })
    } catch {
      // The next reader tries again.
      isConnecting = false
    }
  }

  private func connect() {
    var pause = Self.pauses.first
    while lock.withLock({ isWantingMore() }) {
      do throws(NbdProblem) {
        let (handle, export) = try NbdHandshake.connect(library, uri, within: options.handshake)
        if let difference = self.export.difference(from: export) {
          refuse(difference)
        } else {
          add(try NbdConnection(handle, silence: options.silence))
          pause = Self.pauses.first
          continue
        }
      } catch {
        // The server is away: nothing that was not said before.
      }
      lock.withLock {
        if connections.isEmpty {
          condition.wait(lock, until: Moment.now + pause)
        } else {
          noMoreBefore = Moment.now + Self.contentment
          wanted = connections.count
        }
      }
      pause = min(pause * 2, Self.pauses.longest)
    }
  }

  /// Whether the connector has something to do; from the answer no on, there is none.
  private func isWantingMore() -> Bool {
    isConnecting = !isEnding && connections.count < wanted
    return isConnecting
  }

  private func add(_ connection: NbdConnection) {
    let isNews = lock.withLock {
      connections.append(connection)
      difference = nil
      defer { lostSince = nil }
      condition.signal()
      return lostSince != nil
    }
    if isNews { options.report("the connection to \(uri.text) is back") }
  }

  private func refuse(_ difference: String) {
    let isNews = lock.withLock {
      guard connections.isEmpty, self.difference != difference else { return false }
      self.difference = difference
      condition.signal()
      return true
    }
    if isNews { options.report("\(uri.text) came back as another image (\(difference)): reading it is an I/O error") }
  }
}

extension NbdExport {
  /// What makes another export unfit to take this one's place, in words.
  fileprivate func difference(from other: NbdExport) -> String? {
    size == other.size ? nil : "its size was \(size) bytes and is \(other.size)"
  }
}
