// The bytes that are saved, which must be those of one moment: a checkpoint, or the disk as it is while nobody writes to it.
// Where somebody does, a checkpoint is made for as long as it takes.

internal import CLinux
internal import DiskIO
internal import Glibc
internal import MountControl
internal import SystemPackage

/// A state of a disk that is held still, or watched.
final class SavedState {
  private let client: MountClient
  /// Where it is, for messages.
  let path: FilePath
  private let checkpoint: CheckpointName?
  private let file: File
  /// Bytes of it.
  let size: UInt64
  /// A checkpoint that is here for this alone.
  private let own: OwnCheckpoint?
  /// Whether ``hadWriters`` tells.
  private let isWatched: Bool

  /// Whether somebody has opened the file for writing since.
  var hadWriters: Bool { isWatched && clinux_had_writers() != 0 }

  /// Whether the disk was in use when it was caught.
  var users: [MountUser]? { own?.users }

  /// - Parameter checkpoint: the one that is meant; nil for the disk as it is.
  init(_ client: MountClient, _ checkpoint: CheckpointName?, exposed: FilePath) throws(SaveError) {
    self.client = client
    var isWatched = false
    var own: OwnCheckpoint?
    if checkpoint == nil {
      do throws(WrittenElsewhere) {
        isWatched = try Self.keepOffWriters(client)
      } catch {
        own = try OwnCheckpoint(client, exposed, error.users)
      }
    }
    let name = checkpoint ?? own?.name
    self.own = own
    self.isWatched = isWatched
    self.checkpoint = name
    path = name.map { FilePath(carriedBy: exposed.carrier + "@\($0)") } ?? exposed
    do throws(ControlError) {
      if let name {
        file = try client.open(name)
      } else {
        try client.flush()
        file = try Self.again(client)
      }
    } catch {
      throw .mount(error)
    }
    do throws(Errno) { size = try file.status().size } catch { throw .unreadable(path, error) }
  }

  /// What differs from the image.
  var changes: MountChanges { client.changes(of: checkpoint) }

  /// Fills `part` from byte `offset` on.
  func read(into part: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(SaveError) {
    do { try file.readFully(into: part, at: offset) } catch { throw .unreadable(path, error) }
  }

  /// The next bytes from `offset` on that are no hole.
  func data(from offset: UInt64) throws(SaveError) -> Range<UInt64>? {
    do throws(Errno) {
      guard offset < size, let start = try file.nextData(from: offset), start < size else { return nil }
      return start..<min(size, max(start + 1, try file.nextHole(from: start)))
    } catch {
      throw .unreadable(path, error)
    }
  }

  private static func again(_ client: MountClient) throws(ControlError) -> File {
    let descriptor = fcntl(client.file.descriptor, F_DUPFD_CLOEXEC, 0)
    guard descriptor != -1 else { throw .failed(client.path, .current) }
    return File(adopting: descriptor)
  }

  private struct WrittenElsewhere: Error {
    var users: [MountUser]
  }

  /// Sees to it that nobody writes, or that it is noticed.
  ///
  /// - Returns: whether ``clinux_had_writers()`` tells.
  private static func keepOffWriters(_ client: MountClient) throws(WrittenElsewhere) -> Bool {
    switch clinux_watch_writers(client.file.descriptor) {
    case 0: return true
    case 1: throw WrittenElsewhere(users: client.users)
    default:
      // Who may not ask the kernel, asks /proc; it does not tell readers from writers.
      let users = client.users
      guard users.isEmpty else { throw WrittenElsewhere(users: users) }
      return false
    }
  }
}

/// A checkpoint that goes away with this object, or with the process unless that is killed.
private final class OwnCheckpoint {
  let name: CheckpointName
  let users: [MountUser]
  private let client: MountClient

  init(_ looking: MountClient, _ exposed: FilePath, _ users: [MountUser]) throws(SaveError) {
    let words = "save-\(getpid())-\(String(UInt32.random(in: 0...UInt32.max), radix: 16))"
    guard let name = CheckpointName(words), looking.hasDirectory, let client = try? MountClient(looking, for: .changing)
    else { throw .written(exposed, users) }
    self.name = name
    self.users = users
    self.client = client
    client.deleteOnSignals(name)
    do {
      // What the kernel holds back belongs to it.
      try client.flush()
      try client.checkpoint(name)
    } catch let error as ControlError {
      throw .mount(error)
    } catch {
      throw .refused("\(error)")
    }
  }

  deinit {
    try? client.deleteCheckpoint(name)
    client.deleteOnSignals(nil)
  }
}
