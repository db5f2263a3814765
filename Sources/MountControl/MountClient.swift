// Asking a mount, from another process. The file is held open meanwhile, so the mount is busy as long as a client lives.

internal import CLinux
public import DiskIO
internal import Glibc
public import SystemPackage

/// A mount that can be asked.
public final class MountClient {
  /// What for.
  public enum Access: Sendable {
    /// Needs the right to read the file.
    case looking
    /// Needs the right to write to it as well.
    case changing
  }

  /// The path as it was given, for messages.
  public let path: FilePath
  /// The mount.
  public let entry: MountTableEntry
  /// The exposed file, open for reading, and for writing where something may be changed.
  public let file: File
  private let place: PinnedPlace

  /// Finds the mount at a path, and opens its file.
  ///
  /// - Parameters:
  ///   - path: the mountpoint, or the exposed file.
  ///   - access: whether anything is to be changed.
  public convenience init(_ path: FilePath, for access: Access) throws(ControlError) {
    try self.init(PinnedPlace(MountPlace(path)), for: access)
  }

  /// Opens the file of a mount that is known once more.
  public convenience init(_ client: MountClient, for access: Access) throws(ControlError) {
    try self.init(client.place, for: access)
  }

  private init(_ pinned: PinnedPlace, for access: Access) throws(ControlError) {
    path = pinned.place.path
    entry = pinned.place.entry
    file = try pinned.place.open(for: access)
    place = pinned
  }

  /// What several clients of a mount have together.
  private final class PinnedPlace {
    let place: MountPlace

    init(_ place: consuming MountPlace) { self.place = place }
  }

  /// Whether its checkpoints are files, beside the exposed one.
  public var hasDirectory: Bool { (try? place.place.directory()) != nil }

  /// Opens the file of a checkpoint for reading.
  ///
  /// - Throws: ``ControlError/noDirectory(_:)`` where the mountpoint is a file, for that has none beside it.
  public func open(_ checkpoint: CheckpointName) throws(ControlError) -> File { try place.place.open(checkpoint) }

  /// What the mount is, and what it did so far.
  public func status() throws(ControlError) -> MountStatus {
    guard case .status(let status) = try ask(.status) else { throw .nonsense(path) }
    return status
  }

  /// Where it is mounted.
  public var mountpoint: FilePath { entry.mountpoint }

  /// The path of the exposed file; nil where that cannot be said.
  public var filePath: FilePath? { file.path }

  /// Has the kernel write back what it holds, so that the mount knows of it.
  public func flush() throws(ControlError) {
    while fsync(file.descriptor) == -1 {
      let error = Errno.current
      if error != .interrupted { throw reason(error) ?? .unwritten(path, error) }
    }
  }

  /// What differs from the base, in the disk's order. ``flush()`` before, for what was written by now to be among it.
  ///
  /// - Parameters:
  ///   - name: of a checkpoint; nil for the disk as it is.
  ///   - since: an older checkpoint to compare with; nil for the base.
  public func changes(of name: CheckpointName? = nil, since: CheckpointName? = nil) -> MountChanges {
    MountChanges(self, name, since)
  }

  /// Asks, and waits for the answer.
  ///
  /// - Throws: ``ControlError`` where there is no answer, or it is no answer to this.
  func ask(_ request: ControlRequest) throws(ControlError) -> ControlAnswer {
    var bytes = request.bytes
    bytes += [UInt8](repeating: 0, count: ControlMessage.size - bytes.count)
    while clinux_control(file.descriptor, &bytes) == -1 {
      let error = Errno.current
      if error != .interrupted { throw reason(error) ?? .failed(path, error) }
    }
    guard let message = ControlMessage(bytes, .answer) else { throw .nonsense(path) }
    guard message.version == ControlMessage.currentVersion else { throw .otherVersion(path, message.version) }
    guard let answer = try? ControlAnswer(message) else { throw .nonsense(path) }
    switch answer {
    case .failed(let error): throw .failed(path, Errno(rawValue: error))
    case .otherVersion, .notUnderstood: throw .otherVersion(path, 0)
    default: return answer
    }
  }

  private func reason(_ error: Errno) -> ControlError? {
    switch error {
    case .inappropriateIOCTLForDevice, .noFunction: .mute(path)
    case .socketNotConnected, .connectionAbort, Errno(rawValue: ENODEV): .ended(path)
    case .badFileDescriptor: .forbidden(path, .changing)
    case .permissionDenied: .foreign(path)
    case .resourceBusy: .busy(path)
    default: nil
    }
  }
}

/// The changes of a mount one by one, asked for as they are needed. Neighbours are of different kinds.
public struct MountChanges {
  private let client: MountClient
  private let name: CheckpointName?
  private let since: CheckpointName?
  private var page: [DiskChange] = []
  private var index = 0
  private var offset: UInt64? = 0
  private var held: DiskChange?

  init(_ client: MountClient, _ name: CheckpointName?, _ since: CheckpointName?) {
    self.client = client
    self.name = name
    self.since = since
  }

  /// The next change; nil after the last one.
  public mutating func next() throws(ControlError) -> DiskChange? {
    while let change = try piece() {
      guard let last = held else {
        held = change
        continue
      }
      if last.kind == change.kind, last.bytes.upperBound == change.bytes.lowerBound {
        held = DiskChange(last.bytes.lowerBound..<change.bytes.upperBound, last.kind)
      } else {
        held = change
        return last
      }
    }
    defer { held = nil }
    return held
  }

  /// The next piece as the mount tells it.
  private mutating func piece() throws(ControlError) -> DiskChange? {
    while index == page.count {
      guard let offset else { return nil }
      switch try client.ask(.changes(of: name, since: since, from: offset)) {
      case .changes(let answer) where answer.follows(offset):
        (page, index, self.offset) = (answer.changes, 0, answer.next)
      case .refused(.unknownName, _): throw .noCheckpoint(client.path)
      case .refused(.unrelated, _): throw .unrelated(client.path)
      default: throw .nonsense(client.path)
      }
    }
    defer { index += 1 }
    return page[index]
  }
}
