// What goes through the ioctl. Both ends take it for hostile: whatever the bytes are, they are a value that keeps its promises
// or an error, and never more than was meant to come.

import TestSupport
import Testing

@testable import MountControl

@Suite struct ControlMessageTests {
  private static let full = MountStatus(
    process: 4711, age: 90_061, size: 1 << 40, isReadOnly: false, threads: 4,
    base: MountStatus.Base(
      source: "/srv/disk.img", format: "qcow2", size: 1 << 41, part: 1 << 20..<1 << 40, partition: 2, lock: .held,
      reads: 12, readBytes: .max),
    overlay: MountStatus.Overlay(
      directory: "/var/tmp", blockSize: 4096, written: 1, copied: 2, used: 3, limit: 4, left: .max),
    requests: MountStatus.Requests.Verb.allCases.map { MountStatus.Requests($0, count: 5, bytes: 6) },
    errors: 7, lastError: "write of 1 bytes at 2 failed", warnings: ["one", "two"])

  private static let bare: MountStatus = {
    var status = full
    status.base.part = nil
    status.base.partition = nil
    status.overlay.directory = nil
    status.overlay.limit = nil
    status.requests = []
    status.lastError = nil
    status.warnings = []
    return status
  }()

  private static let answers: [ControlAnswer] =
    [
      .status(full), .status(bare), .changes(ChangePage([], next: nil)), .failed(28), .otherVersion, .notUnderstood,
      .done, .checkpoints(CheckpointPage([], hasMore: false)),
      .checkpoints(
        CheckpointPage(
          (0..<UInt64(CheckpointPage.limit)).compactMap { index in
            CheckpointName(String(repeating: "x", count: 200)).map {
              CheckpointPage.Entry(name: $0, size: .max, written: index, age: 9, isBelow: index % 2 == 0)
            }
          }, hasMore: true)),
      .changes(
        ChangePage(
          (0..<UInt64(ChangePage.limit)).map {
            DiskChange($0 * 8192..<$0 * 8192 + 4096, $0 % 2 == 0 ? .written : .zeroed)
          },
          next: 1 << 40)),
    ] + refusals.map { .refused($0, 5) }
  private static let requests: [ControlRequest] = {
    let names = ["a", "prepared", "ä ö", String(repeating: "x", count: 200)].compactMap { CheckpointName($0) }
    let changes = names.flatMap { name -> [ControlRequest] in
      [.checkpoint(name), .deleteCheckpoint(name), .reset(to: name, isForced: true)]
    }
    let looks: [ControlRequest] = [
      .changes(from: 0), .changes(from: .max), .changes(of: names[0], since: names[1], from: 5), .checkpoints(from: 3),
    ]
    return [.status, .reset(to: nil, isForced: false)] + looks + changes
  }()

  private static let refusals: [ControlRefusal] = [
    .nameTaken, .unknownName, .nameInvalid, .inUse(0), .inUse(7), .readOnlyMount, .noSpace, .keeperFailed, .tooMany,
    .busy, .stale, .unrelated,
  ]

  private func answer(_ bytes: some Collection<UInt8>) throws -> ControlAnswer? {
    try ControlMessage(bytes, .answer).map { message throws in try ControlAnswer(message) }
  }

  // MARK: Right ones

  @Test(arguments: answers.indices) func answersArrive(index: Int) throws {
    let bytes = Self.answers[index].bytes
    #expect(bytes.count <= ControlMessage.size)
    #expect(try answer(bytes) == Self.answers[index])
    // What the kernel copies is longer.
    let padded = bytes + [UInt8](repeating: 0xFF, count: ControlMessage.size - bytes.count)
    #expect(try answer(padded) == Self.answers[index])
  }

  @Test(arguments: requests) func requestsArrive(request: ControlRequest) throws {
    #expect(try ControlRequest(request.bytes + [1, 2, 3]) == request)
  }

  /// The header is what any two versions have in common.
  @Test func theHeaderNeverChanges() {
    var bytes = Array("cowm ask".utf8) + [1, 0, 0, 0, 1, 0, 0, 0] + [UInt8](repeating: 0, count: 8)
    #expect(ControlRequest.status.bytes == bytes)
    bytes = Array("cowm say".utf8) + [1, 0, 0, 0, 4, 0, 0, 0] + [UInt8](repeating: 0, count: 8)
    #expect(ControlAnswer.otherVersion.bytes == bytes)
  }

  @Test(arguments: [
    ("a", true), (".a", true), ("...", true), ("ä", true), ("a b", true), ("-x", true),
    (String(repeating: "x", count: 200), true),
    ("", false), (".", false), ("..", false), ("a/b", false), ("/", false), ("a@b", false), ("a\u{0}", false),
    ("a\n", false), ("\u{1B}[2J", false), ("\u{9B}", false), (String(repeating: "x", count: 201), false),
    (String(repeating: "ä", count: 101), false), ("\u{10FF80}", false),
    ("\u{10FFFF}", false), ("/\u{301}", false),
    ("@\u{301}", false),
  ])
  func namesOfCheckpoints(name: String, isRight: Bool) {
    #expect((CheckpointName(name) != nil) == isRight, "\(name)")
  }

  @Test func aNameThatNoCheckpointMayHaveIsNotUnderstood() throws {
    for name in [Array("a/b".utf8), Array("..".utf8), [0xC3], [UInt8](repeating: 120, count: 201), []] {
      var payload = MessageWriter()
      payload.add(UInt16(name.count))
      let message = ControlMessage(kind: 3, payload: payload.bytes + name)
      #expect(throws: ControlRequestError.notUnderstood) { try ControlRequest(message.bytes(.request)) }
    }
  }

  // MARK: Wrong ones

  @Test func anotherVersionIsToldApart() throws {
    var bytes = ControlRequest.status.bytes
    bytes[8] = 2
    #expect(throws: ControlRequestError.otherVersion) { try ControlRequest(bytes) }
    // Whatever its payload means there.
    #expect(throws: ControlRequestError.otherVersion) {
      try ControlRequest(bytes.dropLast(8) + [9, 0, 0, 0, 0, 0, 0, 0] + [UInt8](repeating: 7, count: 9))
    }
    var answer = ControlAnswer.status(Self.full).bytes
    answer[8] = 9
    #expect(ControlMessage(answer, .answer)?.version == 9)
  }

  @Test func aRequestIsNoAnswer() throws {
    for request in Self.requests { #expect(try answer(request.bytes) == nil) }
    for answer in Self.answers {
      #expect(throws: ControlRequestError.notUnderstood) { try ControlRequest(answer.bytes) }
    }
  }

  /// Every beginning of a message; of long ones, whose end is all alike, some.
  @Test func whatIsCutOffIsAnError() throws {
    for answer in Self.answers {
      let bytes = answer.bytes
      let cuts = bytes.indices.filter { $0 < 600 || $0 % 97 == 0 || $0 > bytes.count - 20 }
      let taken = cuts.filter { ControlMessage(bytes[..<$0], .answer) != nil }
      #expect(taken == [], "\(answer)")
      // And where the header agrees with that.
      var message = try #require(ControlMessage(bytes, .answer))
      let understood = cuts.filter { $0 >= 24 }.filter {
        message.payload = Array(bytes[24..<$0])
        return (try? ControlAnswer(message)) != nil
      }
      #expect(understood == [], "\(answer)")
      message.payload = Array(bytes[24...]) + [0]
      #expect(throws: MalformedMessage.self) { try ControlAnswer(message) }
    }
    for request in Self.requests {
      let bytes = request.bytes
      let taken = bytes.indices.filter { (try? ControlRequest(bytes[..<$0])) != nil }
      #expect(taken == [], "\(request)")
    }
  }

  /// Bytes changed anywhere: an error, or a value that can be sent on.
  @Test func damageIsAnErrorOrAValue() throws {
    var generator = SeededGenerator(seed: testSeed)
    for round in 0..<20_000 {
      var bytes = Self.answers.randomElement(using: &generator)?.bytes ?? []
      let isRequest = round % 3 == 0
      if isRequest { bytes = (Self.requests.randomElement(using: &generator) ?? .status).bytes }
      for _ in 0...Int.random(in: 0..<4, using: &generator) {
        let place = Int.random(
          in: Bool.random(using: &generator) ? 0..<min(64, bytes.count) : 0..<bytes.count, using: &generator)
        bytes[place] = UInt8.random(in: 0...255, using: &generator)
      }
      if round % 5 == 0 { bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &generator))) }
      if isRequest {
        if let request = try? ControlRequest(bytes) { #expect(try ControlRequest(request.bytes) == request) }
      } else if let value = try? answer(bytes) {
        #expect(value.bytes.count <= ControlMessage.size, "seed \(testSeed)")
        if case .status(let status) = value { expectPrintable(status, "seed \(testSeed)") }
      }
    }
  }

  private func expectPrintable(_ status: MountStatus, _ what: Comment) {
    let texts = [status.base.source, status.base.format, status.lastError ?? "", status.overlay.directory ?? ""]
    for text in texts + status.warnings {
      #expect(text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }, what)
    }
  }

  @Test func whatCouldSteerATerminalIsReplaced() throws {
    var status = Self.full
    status.base.source = "/a\u{1B}[2J\nb\u{9B}\u{202E}"
    status.warnings = ["\r\u{7}"]
    guard case .status(let arrived) = try answer(ControlAnswer.status(status).bytes) else { throw MalformedMessage() }
    #expect(arrived.base.source == "/a\u{FFFD}[2J\u{FFFD}b\u{FFFD}\u{FFFD}")
    #expect(arrived.warnings == ["\u{FFFD}\u{FFFD}"])
  }

  /// Whatever its texts, a status fits into an answer.
  @Test func longTextsAreCut() throws {
    let long = String(repeating: "ä", count: 100_000)
    var status = Self.full
    status.base.source = long
    status.base.format = long
    status.overlay.directory = long
    status.lastError = long
    status.warnings = Array(repeating: long, count: 100)
    let bytes = ControlAnswer.status(status).bytes
    #expect(bytes.count <= ControlMessage.size)
    guard case .status(let arrived) = try answer(bytes) else { throw MalformedMessage() }
    #expect(arrived.base.source == String(repeating: "ä", count: 2048))
    #expect(arrived.warnings.count == 8)
  }

  @Test func pagesThatGoBackAreNotFollowed() {
    let change = DiskChange(100..<200, .written)
    let pages: [(ChangePage, UInt64, Bool)] = [
      (ChangePage([], next: nil), 5, true), (ChangePage([], next: 6), 5, true), (ChangePage([], next: 5), 5, false),
      (ChangePage([], next: 4), 5, false), (ChangePage([change], next: 200), 100, true),
      (ChangePage([change], next: 199), 0, false), (ChangePage([change], next: nil), 101, false),
      (ChangePage([change, change], next: nil), 0, false), (ChangePage([], next: .max), 0, false),
    ]
    for (page, offset, isRight) in pages { #expect(page.follows(offset) == isRight, "\(page) from \(offset)") }
  }
}
