// What can be asked of a mount, and the answers.

/// What is asked of a mount.
public enum ControlRequest: Equatable, Sendable {
  /// What it is and what it did.
  case status
  /// Which bytes of the disk, or of a checkpoint, differ from the base or from an older checkpoint, from a place on.
  case changes(of: CheckpointName? = nil, since: CheckpointName? = nil, from: UInt64)
  /// The checkpoints, from one on.
  case checkpoints(from: UInt64)
  /// To freeze the disk as it is, under a name.
  case checkpoint(CheckpointName)
  /// To delete a checkpoint.
  case deleteCheckpoint(CheckpointName)
  /// To throw away all changes, or those since a checkpoint; also while somebody else has the file open.
  case reset(to: CheckpointName?, isForced: Bool)

  /// Whether who asks must have opened the file for writing.
  public var isChange: Bool {
    switch self {
    case .status, .changes, .checkpoints: false
    case .checkpoint, .deleteCheckpoint, .reset: true
    }
  }
}

/// What a mount answers.
public enum ControlAnswer: Equatable, Sendable {
  /// To ``ControlRequest/status``.
  case status(MountStatus)
  /// To ``ControlRequest/changes(of:since:from:)``.
  case changes(ChangePage)
  /// To ``ControlRequest/checkpoints(from:)``.
  case checkpoints(CheckpointPage)
  /// To a change: it is done.
  case done
  /// To a change: it was not done, and nothing is different; why, and an errno where that says more, else 0.
  case refused(ControlRefusal, Int32)
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
      case 2:
        let name = try payload.optional { (payload) throws(MalformedMessage) in try CheckpointName(from: &payload) }
        let since = try payload.optional { (payload) throws(MalformedMessage) in try CheckpointName(from: &payload) }
        self = .changes(of: name, since: since, from: try payload.number())
      case 3: self = .checkpoint(try CheckpointName(from: &payload))
      case 4: self = .deleteCheckpoint(try CheckpointName(from: &payload))
      case 5:
        let name = try payload.optional { (payload) throws(MalformedMessage) in try CheckpointName(from: &payload) }
        self = .reset(to: name, isForced: try payload.flag())
      case 6: self = .checkpoints(from: try payload.number())
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
    case .changes(let name, let since, let offset):
      kind = 2
      payload.add(name)
      payload.add(since)
      payload.add(offset)
    case .checkpoints(let first):
      kind = 6
      payload.add(first)
    case .checkpoint(let name):
      kind = 3
      payload.add(name)
    case .deleteCheckpoint(let name):
      kind = 4
      payload.add(name)
    case .reset(let name, let isForced):
      kind = 5
      payload.add(name)
      payload.add(isForced)
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
    case .done: kind = 6
    case .checkpoints(let page):
      kind = 8
      payload.add(page)
    case .refused(let reason, let error):
      kind = 7
      payload.add(reason)
      payload.add(error)
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
    case 6: self = .done
    case 8: self = .checkpoints(try CheckpointPage(from: &payload))
    case 7:
      let reason = try ControlRefusal(from: &payload)
      self = .refused(reason, try payload.number())
    default: throw MalformedMessage()
    }
    try payload.end()
  }
}
