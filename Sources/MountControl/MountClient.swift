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

  /// Finds the mount at a path, and opens its file.
  ///
  /// - Parameters:
  ///   - path: the mountpoint, or the exposed file.
  ///   - access: whether anything is to be changed.
  public init(_ path: FilePath, for access: Access) throws(ControlError) {
    let place = try MountPlace(path)
    self.path = path
    entry = place.entry
    file = try place.open(for: access)
  }

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
  public func changes() -> MountChanges { MountChanges(self) }

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
  private var page: [DiskChange] = []
  private var index = 0
  private var offset: UInt64? = 0
  private var held: DiskChange?

  init(_ client: MountClient) {
    self.client = client
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
      guard case .changes(let answer) = try client.ask(.changes(from: offset)), answer.follows(offset) else {
        throw .nonsense(client.path)
      }
      (page, index, self.offset) = (answer.changes, 0, answer.next)
    }
    defer { index += 1 }
    return page[index]
  }
}
