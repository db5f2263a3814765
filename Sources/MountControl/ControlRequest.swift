// What can be asked of a mount, and the answers.

/// What is asked of a mount.
public enum ControlRequest: Equatable, Sendable {
  /// What it is and what it did.
  case status
  /// Which bytes differ from the base, from a place on.
  case changes(from: UInt64)

  /// Whether who asks must have opened the file for writing.
  public var isChange: Bool {
    switch self {
    case .status, .changes: false
    }
  }
}

/// What a mount answers.
public enum ControlAnswer: Equatable, Sendable {
  /// To ``ControlRequest/status``.
  case status(MountStatus)
  /// To ``ControlRequest/changes(from:)``.
  case changes(ChangePage)
  /// It cannot be done: an errno.
  case failed(Int32)
  /// The asker speaks another version.
  case otherVersion
  /// What was asked is nothing that this version knows.
  case notUnderstood
}

/// A request that cannot be served.
public enum ControlRequestError: Error, Equatable {
  /// It is of another version.
  case otherVersion
  /// It is no request.
  case notUnderstood
}

extension ControlRequest {
  /// Takes a request from what came through the ioctl.
  public init(_ bytes: some Collection<UInt8>) throws(ControlRequestError) {
    guard let message = ControlMessage(bytes, .request) else { throw .notUnderstood }
    guard message.version == ControlMessage.currentVersion else { throw .otherVersion }
    do throws(MalformedMessage) {
      var payload = MessageReader(message.payload)
      switch message.kind {
      case 1: self = .status
      case 2: self = .changes(from: try payload.number())
      default: throw MalformedMessage()
      }
      try payload.end()
    } catch {
      throw .notUnderstood
    }
  }

  /// What goes through the ioctl.
  var bytes: [UInt8] {
    var payload = MessageWriter()
    let kind: UInt32
    switch self {
    case .status: kind = 1
    case .changes(let offset):
      kind = 2
      payload.add(offset)
    }
    return ControlMessage(kind: kind, payload: payload.bytes).bytes(.request)
  }
}

extension ControlAnswer {
  /// What goes through the ioctl.
  public var bytes: [UInt8] {
    var payload = MessageWriter()
    let kind: UInt32
    switch self {
    case .status(let status):
      kind = 1
      payload.add(status)
    case .changes(let page):
      kind = 2
      payload.add(page)
    case .failed(let error):
      kind = 3
      payload.add(error)
    case .otherVersion: kind = 4
    case .notUnderstood: kind = 5
    }
    return ControlMessage(kind: kind, payload: payload.bytes).bytes(.answer)
  }

  /// Takes an answer apart.
  init(_ message: ControlMessage) throws(MalformedMessage) {
    var payload = MessageReader(message.payload)
    switch message.kind {
    case 1: self = .status(try MountStatus(from: &payload))
    case 2: self = .changes(try ChangePage(from: &payload))
    case 3: self = .failed(try payload.number())
    case 4: self = .otherVersion
    case 5: self = .notUnderstood
    default: throw MalformedMessage()
    }
    try payload.end()
  }
}
