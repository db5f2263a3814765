// What the keeper and the process without rights say to each other. The keeper believes nothing of what it hears beyond what
// is here: a number names one of a few things that may be asked for, and a text is only shown.

internal import CLinux
internal import CompressedImages
internal import DiskIO
internal import Glibc
internal import Logging
internal import SystemPackage
internal import VirtualDisks

/// To the keeper.
enum ServerMessage {
  /// A line for the log.
  case log(Logger.Level, label: String, String)
  /// A line for the user who waits.
  case complaint(String)
  /// How far a pass through a whole file is.
  case progress(CompressionProgress)
  /// The image is a virtual disk of this format: somebody has to serve it.
  case virtualDisk(VirtualDiskFormat)
  /// The image can be used, under this name: mount.
  case mountable(name: [UInt8])
  /// The mount answers; its file has this size and was last modified then.
  case serving(size: UInt64, modified: Timestamp)
  /// Please have the kernel write back so many bytes (0: all) from a place on.
  case writeBack(id: UInt64, start: UInt64, count: UInt64)
  /// Please make another unnamed file for the overlay.
  case newScratch(id: UInt64)
  /// Please have the kernel forget what it knows of the first `count` bytes, and that the file has this size.
  case forget(id: UInt64, count: UInt64, size: UInt64)
  /// There is nothing to serve any more.
  case over(hasFailed: Bool)
  /// It cannot be done; where the server of the image may have ended, that is the better reason.
  case failed(text: String, isUsage: Bool, serverMayHaveEnded: Bool)
}

/// From the keeper.
enum KeeperMessage {
  /// The device to serve comes with it.
  case device
  /// What became of something that was asked for: an errno, or 0. A file that was asked for comes with it.
  case answer(id: UInt64, error: CInt)
  /// Somebody wants to know what the mount did so far.
  case report
  /// The server of the image ended.
  case imageIsGone
  /// The mount is about to end: wait for nothing that is far away.
  case prepareToEnd
  /// The mount is detached: finish what is being served, and end.
  case stop
  /// End at once.
  case abandon
}

/// A message as it is sent: a kind, numbers and a text.
struct Wire {
  var kind: UInt8
  var numbers: [UInt64] = []
  var text: [UInt8] = []

  /// Longest text; the rest is cut off.
  private static let longestText = 16 << 10
  private static let mostNumbers = 4
  /// Most bytes of a message.
  static let largest = 2 + 8 * mostNumbers + longestText

  init(_ kind: UInt8, _ numbers: [UInt64] = [], text: [UInt8] = []) {
    self.kind = kind
    self.numbers = numbers
    self.text = text
  }

  /// Takes apart what was received; nil where that is no message.
  init?(_ bytes: [UInt8]) {
    guard bytes.count >= 2, bytes[1] <= Self.mostNumbers, bytes.count >= 2 + 8 * Int(bytes[1]) else { return nil }
    let start = 2 + 8 * Int(bytes[1])
    kind = bytes[0]
    numbers = stride(from: 2, to: start, by: 8).map { place in
      bytes[place..<place + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
    text = Array(bytes[start...])
  }

  var bytes: [UInt8] {
    let numbers = numbers.flatMap { number in (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }
    return [kind, UInt8(self.numbers.count)] + numbers + text.prefix(Self.longestText)
  }

  /// A number, 0 where there is none.
  func number(_ index: Int) -> UInt64 { index < numbers.count ? numbers[index] : 0 }

  var string: String { String(decoding: text, as: UTF8.self) }
}

extension ServerMessage {
  private static let tasks: [CompressionProgress.Task] = [.indexing, .decompressing]

  var wire: Wire {
    switch self {
    case .log(let level, let label, let text):
      let labels = Array(label.utf8)
      let number = Logger.Level.allCases.firstIndex(of: level) ?? 0
      return Wire(1, [UInt64(number), UInt64(labels.count)], text: labels + Array(text.utf8))
    case .complaint(let text): return Wire(2, text: Array(text.utf8))
    case .progress(let progress):
      return Wire(3, [progress.task == .indexing ? 0 : 1, progress.done, progress.all])
    case .virtualDisk(let format):
      return Wire(4, [UInt64(VirtualDiskFormat.allCases.firstIndex(of: format) ?? 0)])
    case .mountable(let name): return Wire(5, text: name)
    case .serving(let size, let modified):
      return Wire(6, [size, UInt64(bitPattern: Int64(modified.seconds)), UInt64(modified.nanoseconds)])
    case .writeBack(let id, let start, let count): return Wire(7, [id, start, count])
    case .over(let hasFailed): return Wire(8, [hasFailed ? 1 : 0])
    case .newScratch(let id): return Wire(10, [id])
    case .forget(let id, let count, let size): return Wire(11, [id, count, size])
    case .failed(let text, let isUsage, let serverMayHaveEnded):
      return Wire(9, [isUsage ? 1 : 0, serverMayHaveEnded ? 1 : 0], text: Array(text.utf8))
    }
  }

  init?(_ wire: Wire) {
    switch wire.kind {
    case 1:
      let levels = Logger.Level.allCases
      guard let level = Int(exactly: wire.number(0)), levels.indices.contains(level),
        let split = Int(exactly: wire.number(1)), split <= wire.text.count
      else { return nil }
      self = .log(
        levels[level], label: String(decoding: wire.text[..<split], as: UTF8.self),
        String(decoding: wire.text[split...], as: UTF8.self))
    case 2: self = .complaint(wire.string)
    case 3:
      self = .progress(
        CompressionProgress(
          task: wire.number(0) == 0 ? .indexing : .decompressing, done: wire.number(1), all: wire.number(2)))
    case 4:
      let formats = VirtualDiskFormat.allCases
      guard let index = Int(exactly: wire.number(0)), formats.indices.contains(index) else { return nil }
      self = .virtualDisk(formats[index])
    case 5: self = .mountable(name: wire.text)
    case 6:
      let nanoseconds = Int(wire.number(2) % 1_000_000_000)
      let time = timespec(tv_sec: Int(Int64(bitPattern: wire.number(1))), tv_nsec: nanoseconds)
      self = .serving(size: wire.number(0), modified: Timestamp(time))
    case 7: self = .writeBack(id: wire.number(0), start: wire.number(1), count: wire.number(2))
    case 8: self = .over(hasFailed: wire.number(0) == 1)
    case 10: self = .newScratch(id: wire.number(0))
    case 11: self = .forget(id: wire.number(0), count: wire.number(1), size: wire.number(2))
    case 9: self = .failed(text: wire.string, isUsage: wire.number(0) == 1, serverMayHaveEnded: wire.number(1) == 1)
    default: return nil
    }
  }
}

extension KeeperMessage {
  var wire: Wire {
    switch self {
    case .device: Wire(1)
    case .answer(let id, let error): Wire(2, [id, UInt64(UInt32(bitPattern: error))])
    case .report: Wire(3)
    case .imageIsGone: Wire(4)
    case .prepareToEnd: Wire(5)
    case .stop: Wire(6)
    case .abandon: Wire(7)
    }
  }

  init?(_ wire: Wire) {
    switch wire.kind {
    case 1: self = .device
    case 2: self = .answer(id: wire.number(0), error: CInt(truncatingIfNeeded: wire.number(1)))
    case 3: self = .report
    case 4: self = .imageIsGone
    case 5: self = .prepareToEnd
    case 6: self = .stop
    case 7: self = .abandon
    default: return nil
    }
  }
}

/// One end of a connection that keeps the borders of messages.
final class MessageSocket: Sendable {
  private let file: File

  /// The descriptor, to poll for reading.
  var descriptor: CInt { file.descriptor }

  init(adopting descriptor: CInt) {
    file = File(adopting: descriptor)
  }

  /// Two connected ends.
  static func pair() throws(Errno) -> (MessageSocket, MessageSocket) {
    var ends: [CInt] = [0, 0]
    guard clinux_message_sockets(&ends) == 0 else { throw .current }
    return (MessageSocket(adopting: ends[0]), MessageSocket(adopting: ends[1]))
  }

  /// Sends a message. Whether it arrives shows elsewhere: the other end's process is gone, or not.
  ///
  /// - Parameters:
  ///   - passed: a descriptor to send with it; none where -1.
  ///   - canBeDropped: not to wait where the other end does not read.
  /// - Returns: whether it was sent.
  @discardableResult
  func send(_ wire: Wire, passing passed: CInt = -1, canBeDropped: Bool = false) -> Bool {
    let bytes = wire.bytes
    return clinux_send_message(descriptor, bytes, bytes.count, passed, canBeDropped ? 1 : 0) == 0
  }

  /// What was received.
  enum Received: ~Copyable {
    case message(Wire, File?)
    /// Bytes that are no message.
    case nonsense
    /// The other end is closed.
    case end
  }

  /// Waits for the next message.
  ///
  /// - Parameter takesDescriptor: whether one may come with it. Who does not expect any must not end up with a stranger's.
  func receive(takesDescriptor: Bool = false) -> Received {
    var bytes = [UInt8](repeating: 0, count: Wire.largest)
    var passed: CInt = -1
    let count =
      takesDescriptor
      ? clinux_receive_message(descriptor, &bytes, bytes.count, &passed)
      : clinux_receive_message(descriptor, &bytes, bytes.count, nil)
    guard count > 0 else { return .end }
    bytes.removeLast(bytes.count - Int(count))
    guard let wire = Wire(bytes) else {
      if passed != -1 { close(passed) }
      return .nonsense
    }
    return .message(wire, passed == -1 ? nil : File(adopting: passed))
  }
}

/// The way from the process without rights to the keeper, for all its threads.
final class KeeperLink: Sendable {
  let socket: MessageSocket

  init(_ socket: MessageSocket) {
    self.socket = socket
  }

  /// Sends a message. What is only told is dropped where the keeper does not listen: a stopped keeper stops no mount.
  func send(_ message: ServerMessage) {
    let isOnlyTold =
      switch message {
      case .log, .progress: true
      default: false
      }
    socket.send(message.wire, canBeDropped: isOnlyTold)
  }
}
