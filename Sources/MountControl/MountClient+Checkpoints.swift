// Checkpoints and resets, from the asking end.

internal import CLinux
internal import DiskIO
public import SystemPackage

/// A change that a mount refused.
public struct ChangeRefused: Error, Equatable, CustomStringConvertible {
  /// The mount, as it was given.
  public let path: FilePath
  /// The checkpoint that the change was about.
  public let name: CheckpointName?
  /// Why.
  public let reason: ControlRefusal
  /// What the system said, where that is the reason.
  public let error: Errno?
  /// Who uses the mount, where that is the reason and the caller can see them.
  public let users: [MountUser]

  /// One line that names the mount, the checkpoint, the reason and the way out.
  public var description: String {
    let name = name.map { "'\($0)'" } ?? ""
    switch reason {
    case .nameTaken: return "\(path) has a checkpoint \(name) already; delete that, or choose another name"
    case .unknownName: return "\(path) has no checkpoint \(name); cowmount status \(path) lists them"
    case .nameInvalid: return "\(path) can have no checkpoint \(name); choose another name"
    case .inUse(let count): return "\(path) is in use by \(words(count)); end or unmount that first, or give --force"
    case .readOnlyMount: return "\(path) is mounted read-only, so it has no changes; mount it without --read-only"
    case .noSpace: return "the overlay of \(path) has no space for that; free some, or delete a checkpoint"
    case .keeperFailed: return "\(path): the process that opens files could not do it\(cause); see its log"
    case .tooMany: return "\(path) can have no more checkpoints; delete one"
    case .busy: return "\(path) waits for its image, and nothing can be done meanwhile; try again"
    case .stale:
      return
        "\(path) was reset, but the kernel may still show some of what it was\(cause); unmount it, and mount it again"
    case .unrelated: return "\(path) does not lie on checkpoint \(name), so there are no changes since then"
    }
  }

  private var cause: String { error.map { ": \($0)" } ?? "" }

  private func words(_ count: UInt32) -> String {
    if !users.isEmpty { return users.map(\.words).joined(separator: ", ") }
    return "somebody whom this user cannot see (open \(count) time\(count == 1 ? "" : "s"))"
  }
}

extension MountClient {
  /// Freezes the disk as it is, under a name.
  public func checkpoint(_ name: CheckpointName) throws { try change(.checkpoint(name), name) }

  /// Deletes a checkpoint. Who has its file open keeps its data.
  public func deleteCheckpoint(_ name: CheckpointName) throws { try change(.deleteCheckpoint(name), name) }

  /// Deletes a checkpoint when a signal ends the process; nil: none any more. One client at a time.
  public func deleteOnSignals(_ name: CheckpointName?) {
    guard let name else { return clinux_control_on_signals(-1, nil, 0) }
    let request = ControlRequest.deleteCheckpoint(name).bytes
    clinux_control_on_signals(file.descriptor, request, request.count)
  }

  /// Throws away all changes, or those since a checkpoint.
  ///
  /// - Parameter isForced: whether to do it while somebody has the file open.
  public func reset(to name: CheckpointName?, isForced: Bool) throws {
    try change(.reset(to: name, isForced: isForced), name)
  }

  /// Who uses the mount, but for this process.
  public var users: [MountUser] { MountUsers(of: [entry.device], besides: []).of(entry.device, isAlive: true) }

  /// All checkpoints, the oldest first.
  public func checkpoints() throws(ControlError) -> [CheckpointPage.Entry] {
    var entries: [CheckpointPage.Entry] = []
    while true {
      guard case .checkpoints(let page) = try ask(.checkpoints(from: UInt64(entries.count))) else {
        throw .nonsense(path)
      }
      entries += page.entries
      // As many as nobody would make: it is another who counts.
      guard page.hasMore, !page.entries.isEmpty, entries.count < 1 << 20 else { return entries }
    }
  }

  private func change(_ request: ControlRequest, _ name: CheckpointName?) throws {
    switch try ask(request) {
    case .done: return
    case .refused(let reason, let error):
      let users = if case .inUse = reason { users } else { [] as [MountUser] }
      throw ChangeRefused(
        path: path, name: name, reason: reason, error: error == 0 ? nil : Errno(rawValue: error), users: users)
    default: throw ControlError.nonsense(path)
    }
  }
}
