// Why a mount does not do what it could.

/// Why a mount refuses a change.
public enum ControlRefusal: Equatable, Sendable {
  /// There is a checkpoint of this name.
  case nameTaken
  /// There is no checkpoint of this name.
  case unknownName
  /// Nothing may be called that.
  case nameInvalid
  /// The file is open or mapped; how often, the asker left out.
  case inUse(UInt32)
  /// The mount refuses writes, so there is nothing to keep or to throw away.
  case readOnlyMount
  /// The overlay has no space for it.
  case noSpace
  /// The process with rights could not do its part.
  case keeperFailed
  /// There are as many checkpoints as there may be.
  case tooMany
  /// Requests that wait for the image stood in the way.
  case busy
  /// The disk was reset, but the kernel may still have some of what it was.
  case stale
  /// The one checkpoint does not lie on the other.
  case unrelated
}

extension ControlRefusal: MessageValue {
  init(from message: inout MessageReader) throws(MalformedMessage) {
    let number: UInt8 = try message.number()
    let openCount: UInt32 = try message.number()
    switch number {
    case 1: self = .nameTaken
    case 2: self = .unknownName
    case 3: self = .nameInvalid
    case 4: self = .inUse(openCount)
    case 5: self = .readOnlyMount
    case 6: self = .noSpace
    case 7: self = .keeperFailed
    case 8: self = .tooMany
    case 9: self = .busy
    case 10: self = .stale
    case 11: self = .unrelated
    default: throw MalformedMessage()
    }
    guard number == 4 || openCount == 0 else { throw MalformedMessage() }
  }

  func add(to message: inout MessageWriter) {
    let (number, openCount): (UInt8, UInt32) =
      switch self {
      case .nameTaken: (1, 0)
      case .unknownName: (2, 0)
      case .nameInvalid: (3, 0)
      case .inUse(let count): (4, count)
      case .readOnlyMount: (5, 0)
      case .noSpace: (6, 0)
      case .keeperFailed: (7, 0)
      case .tooMany: (8, 0)
      case .busy: (9, 0)
      case .stale: (10, 0)
      case .unrelated: (11, 0)
      }
    message.add(number)
    message.add(openCount)
  }
}
