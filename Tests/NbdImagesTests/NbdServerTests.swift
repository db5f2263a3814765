// Servers that go away, come back as something else, fall silent or say no: what readers get, and for how long they wait.
// Where a test waits for a time, it is one after which the other outcome could not come any more.

import CopyOnWrite
import DiskIO
import Glibc
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import NbdImages

@Suite(.serialized, .timeLimit(.minutes(1))) struct NbdServerTests {
  /// Patient, where a test does not say otherwise: what must not happen would take very long.
  private func options(_ change: (inout NbdImage.Options) -> Void = { _ in }) -> NbdImage.Options {
    var options = NbdImage.Options()
    options.reconnect = .seconds(600)
    options.silence = .seconds(600)
    change(&options)
    return options
  }

  private func open(
    _ server: FakeNbdServer, _ change: (inout NbdImage.Options) -> Void = { _ in }
  ) throws(NbdImageError) -> NbdImage {
    try NbdImage(uri: server.uri, options: options(change))
  }

  private func expectBytes(_ image: NbdImage, _ range: Range<UInt64>) throws {
    let expected = FakeNbdServer.content(at: range.lowerBound, count: range.count)
    #expect(try image.bytes(range) == expected, "\(range)")
  }

  // MARK: What it shows

  @Test func bytesAndProperties() throws {
    let server = try FakeNbdServer(size: 1_000_001)
    let image = try open(server)
    #expect(image.size == 1_000_001)
    #expect(image.name == "b.img")
    #expect(image.source == server.uri)
    #expect(image.dataSectors == 1954)
    #expect(try image.extent(at: 5) == .init(isData: true, end: 1_000_001))
    #expect(image.change() == nil)
    #expect(image.status.user == geteuid())
    for range in [0..<1, 0..<1_000_001, 511..<1025, 1_000_000..<1_000_001] as [Range<UInt64>] {
      try expectBytes(image, range)
    }
    #expect(throws: Errno.ioError) { try image.bytes(1_000_000..<1_000_002) }
    #expect(server.connectionCount == 1)
  }

  /// libnbd counts the bytes of an answer, and not which they are.
  @Test(
    arguments: [
      ([0..<512, 0..<512], false), ([512..<1024, 512..<1024], false), ([0..<512, 256..<768], false),
      ([0..<512], false), ([512..<1024], false), ([0..<256, 768..<1024, 256..<512, 256..<512], false),
      ([0..<256, 512..<768, 500..<756], false), ([512..<1024, 0..<512], true),
      ([768..<1024, 256..<512, 512..<768, 0..<256], true), ([0..<1024], true),
    ] as [(chunks: [Range<UInt64>], isComplete: Bool)])
  func readersGetOnlyWhatTheServerSent(chunks: [Range<UInt64>], isComplete: Bool) throws {
    let place: UInt64 = 4096
    let moved = chunks.map { $0.lowerBound + place..<$0.upperBound + place }
    let server = try FakeNbdServer(hasChunks: true) { _ in .chunks(moved) }
    let image = try open(server) { ($0.reconnect, $0.handshake) = (.zero, .seconds(5)) }
    var memory = [UInt8](repeating: 0xDE, count: 1024)
    let outcome = Result { try memory.withUnsafeMutableBytes { try image.read(into: $0, at: place) } }
    if isComplete {
      try outcome.get()
      #expect(memory == FakeNbdServer.content(at: place, count: 1024))
    } else {
      #expect(throws: Errno.ioError) { try outcome.get() }
    }
  }

  @Test func sizesThatAreNone() throws {
    for (size, problem) in [(0, .empty), (1 << 63, .tooLarge), (UInt64(Int64.max), .tooLarge)] as [(UInt64, NbdProblem)]
    {
      let server = try FakeNbdServer(size: size)
      #expect(throws: NbdImageError(uri: server.uri, problem: problem)) { try open(server) }
    }
  }

  @Test func noServer() throws {
    let server = try FakeNbdServer()
    server.stop()
    let problem = NbdProblem.noServer("No such file or directory")
    #expect(throws: NbdImageError(uri: server.uri, problem: problem)) { try open(server) }
  }

  @Test func silentHandshake() throws {
    let server = try FakeNbdServer(greets: false)
    let time = Duration.milliseconds(50)
    #expect(throws: NbdImageError(uri: server.uri, problem: .noAnswer(time))) {
      try open(server) { $0.handshake = time }
    }
  }

  // MARK: Many at once

  /// Reads `count` blocks of 4 KiB, each on its own thread.
  private func readAtOnce(_ image: NbdImage, _ count: Int) -> [Result<[UInt8], Errno>] {
    let answers = Guarded<[Int: Result<[UInt8], Errno>]>([:])
    for number in 0..<count {
      inBackground {
        let start = UInt64(number) * 4096
        let answer = Result { () throws(Errno) in
          do { return try image.bytes(start..<start + 4096) } catch { throw error as? Errno ?? .notSupported }
        }
        answers.withLock { $0[number] = answer }
      }
    }
    _ = comesToHold { answers.withLock { $0.count } == count }
    return answers.withLock { list in (0..<count).map { list[$0] ?? .failure(.canceled) } }
  }

  private func expectAll(_ answers: [Result<[UInt8], Errno>]) {
    for (number, answer) in answers.enumerated() {
      #expect(answer == .success(FakeNbdServer.content(at: UInt64(number) * 4096, count: 4096)), "\(number)")
    }
  }

  @Test func requestsAreInFlightTogether() throws {
    // No answer before all have asked, on one connection whose server reads on in another thread.
    let gate = Gate(16)
    let server = try FakeNbdServer(answersInOrder: false) { _ in
      gate.arrive()
      return .data
    }
    expectAll(readAtOnce(try open(server), 16))
    #expect(gate.hasOpened)
    #expect(server.connectionCount == 1)
  }

  @Test func connectionsAreMadeWhereTheyAreNeeded() throws {
    // Nobody is answered before there are three connections.
    let gate = Gate(3)
    let server = try FakeNbdServer(
      allowsMoreConnections: true, answersInOrder: false,
      answer: { _ in
        gate.pass()
        return .data
      }, greeted: { gate.arrive() })
    let image = try open(server)
    // Each of these asks for one more connection, where all that there are have something to do.
    let areThree = comesToHold {
      inBackground { _ = try? image.bytes(0..<1) }
      return server.connectionCount >= 3
    }
    #expect(areThree)
    expectAll(readAtOnce(image, 16))
    #expect(gate.hasOpened)
    #expect(server.connectionCount <= 8)
  }

  @Test func oneConnectionWhereOneIsWanted() throws {
    let gate = Gate(8)
    let server = try FakeNbdServer(allowsMoreConnections: true, answersInOrder: false) { _ in
      gate.arrive()
      return .data
    }
    let image = try open(server) { $0.connections = 1 }
    for _ in 0..<4 { expectAll(readAtOnce(image, 8)) }
    #expect(gate.hasOpened)
    #expect(server.connectionCount == 1)
  }

  // MARK: Loss

  @Test func hangUpInTheMiddle() throws {
    let server = try FakeNbdServer { $0.connection == 0 ? .hangUp : .data }
    let reports = Reports()
    let image = try open(server) { $0.report = reports.add }
    expectAll(readAtOnce(image, 8))
    #expect(server.connectionCount == 2)
    #expect(comesToHold { reports.all.count == 2 })
    #expect(reports.all.contains { $0.contains("was lost") } && reports.all.contains { $0.contains("is back") })
  }

  @Test func awayForTooLong() throws {
    let server = try FakeNbdServer()
    let image = try open(server) { $0.reconnect = .milliseconds(300) }
    try expectBytes(image, 0..<10)
    server.stop()
    for answer in readAtOnce(image, 8) { #expect(answer == .failure(.ioError)) }
    #expect(throws: Errno.ioError) { try image.bytes(0..<10) }
    #expect(image.change() == nil)
    try server.start()
    #expect(comesToHold { (try? image.bytes(0..<10)) != nil }, "reads go on")
    try expectBytes(image, 0..<1000)
  }

  @Test func failsAtOnceWithoutReconnecting() throws {
    let server = try FakeNbdServer()
    let image = try open(server) { $0.reconnect = .zero }
    server.stop()
    #expect(throws: Errno.ioError) { try image.bytes(0..<10) }
    try server.start()
    #expect(comesToHold { (try? image.bytes(0..<10)) != nil }, "reads go on")
  }

  @Test func fallsSilent() throws {
    let server = try FakeNbdServer { $0.connection == 0 ? .nothing : .data }
    expectAll(readAtOnce(try open(server) { $0.silence = .milliseconds(100) }, 8))
  }

  @Test func silentForOneRequestOnly() throws {
    // Others are answered all the time; this one never.
    let server = try FakeNbdServer { $0.offset == 4096 && $0.connection == 0 ? .nothing : .data }
    let image = try open(server) { $0.silence = .milliseconds(100) }
    let isDone = Reports()
    inBackground {
      _ = try? image.bytes(4096..<8192)
      isDone.add("done")
    }
    let isOver = comesToHold {
      _ = try? image.bytes(0..<1)
      return !isDone.all.isEmpty
    }
    #expect(isOver)
  }

  @Test func diesOfEveryRequest() throws {
    let server = try FakeNbdServer { $0.offset == 0 ? .hangUp : .data }
    let image = try open(server) { $0.reconnect = .milliseconds(300) }
    #expect(throws: Errno.ioError) { try image.bytes(0..<10) }
    #expect(comesToHold { (try? image.bytes(4096..<5000)) != nil }, "others are read")
  }

  @Test func otherSize() throws {
    let server = try FakeNbdServer(size: 1 << 20)
    let reports = Reports()
    let image = try open(server) { $0.report = reports.add }
    server.stop()
    server.setSize(1 << 19)
    try server.start()
    #expect(throws: Errno.ioError, "though there is time left to wait") { try image.bytes(0..<10) }
    #expect(throws: Errno.ioError) { try image.bytes(0..<10) }
    #expect(image.change() == "its size was 1048576 bytes and is 524288")
    #expect(comesToHold { reports.all.filter { $0.contains("another image") }.count == 1 })
    server.stop()
    server.setSize(1 << 20)
    try server.start()
    #expect(comesToHold { (try? image.bytes(0..<10)) != nil }, "reads go on")
    #expect(image.change() == nil)
  }

  @Test func refusal() throws {
    let server = try FakeNbdServer { $0.offset < 4096 ? .error(5) : .data }
    let image = try open(server)
    #expect(throws: Errno.ioError) { try image.bytes(0..<10) }
    #expect(throws: Errno.ioError) { try image.bytes(0..<8192) }
    try expectBytes(image, 4096..<8192)
    #expect(server.connectionCount == 1)
  }

  @Test func shutdownIsALoss() throws {
    let server = try FakeNbdServer { $0.connection == 0 ? .error(108) : .data }
    try expectBytes(try open(server), 0..<10)
    #expect(server.connectionCount == 2)
  }

  @Test func endWhileWaiting() throws {
    let server = try FakeNbdServer()
    let image = try open(server)
    server.stop()
    let answers = Reports()
    inBackground { answers.add("\((try? image.bytes(0..<10)) == nil)") }
    // However far the reader is.
    usleep(20_000)
    image.prepareToEnd()
    #expect(comesToHold { answers.all == ["true"] })
  }

  @Test func endDuringSilence() throws {
    let server = try FakeNbdServer { _ in .nothing }
    let image = try open(server) { $0.grace = .milliseconds(50) }
    let answers = Reports()
    inBackground { answers.add("\((try? image.bytes(0..<10)) == nil)") }
    usleep(20_000)
    image.prepareToEnd()
    #expect(comesToHold { answers.all == ["true"] })
  }
}

/// Lets nobody pass before so many have arrived. It opens for all when one has waited for too long.
final class Gate: Sendable {
  private let missing: Atomic<Int>
  private let isForced = Atomic(false)

  init(_ count: Int) { missing = Atomic(count) }

  /// Whether so many have come.
  var hasOpened: Bool { missing.load(ordering: .relaxed) <= 0 && !isForced.load(ordering: .relaxed) }

  func arrive() {
    missing.subtract(1, ordering: .relaxed)
    pass()
  }

  func pass() {
    for _ in 0..<20_000 {
      if missing.load(ordering: .relaxed) <= 0 || isForced.load(ordering: .relaxed) { return }
      usleep(1000)
    }
    isForced.store(true, ordering: .relaxed)
  }
}
