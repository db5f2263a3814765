// What goes through the ioctl, in both directions: a header that never changes, so that any two versions at least
// understand that they do not understand each other, and a payload that is this version's own.
//
//     bytes   in a request          in an answer
//     0–7     magic                 another magic: a request that comes back as it went is no answer
//     8–11    version               the answerer's version
//     12–15   what is asked         what became of it
//     16–19   bytes of payload      bytes of payload
//     20–23   zeros                 zeros
//     24–     payload               payload
//
// Numbers are little-endian. Both ends take what they get for hostile: a server gets requests from any user who can open
// the file, and root may ask a server that somebody has taken over.

internal import CLinux

/// A message without its meaning.
struct ControlMessage: Equatable {
  /// The version of what payloads mean, which both ends must have.
  static let currentVersion: UInt32 = 1
  /// Bytes that the ioctl carries.
  static let size = Int(CLINUX_CONTROL_BYTES)
  private static let headerSize = 24
  /// Most bytes of payload.
  static let room = size - headerSize

  enum Direction {
    case request, answer

    fileprivate var magic: [UInt8] { Array((self == .request ? "cowm ask" : "cowm say").utf8) }
  }

  var version = Self.currentVersion
  var kind: UInt32
  var payload: [UInt8] = []

  /// Takes a message apart; nil where the bytes are none.
  init?(_ bytes: some Collection<UInt8>, _ direction: Direction) {
    let bytes = Array(bytes.prefix(Self.size))
    guard bytes.starts(with: direction.magic), bytes.count >= Self.headerSize else { return nil }
    var header = MessageReader(Array(bytes[direction.magic.count..<Self.headerSize]))
    guard let version: UInt32 = try? header.number(), let kind: UInt32 = try? header.number(),
      let count: UInt32 = try? header.number(), Int(count) <= bytes.count - Self.headerSize
    else { return nil }
    self.version = version
    self.kind = kind
    payload = Array(bytes[Self.headerSize..<Self.headerSize + Int(count)])
  }

  init(kind: UInt32, payload: [UInt8]) {
    precondition(payload.count <= Self.room)
    self.kind = kind
    self.payload = payload
  }

  func bytes(_ direction: Direction) -> [UInt8] {
    var header = MessageWriter()
    header.add(version)
    header.add(kind)
    header.add(UInt32(payload.count))
    header.add(UInt32(0))
    return direction.magic + header.bytes + payload
  }
}
