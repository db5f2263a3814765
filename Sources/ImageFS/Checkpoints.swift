// The checkpoints of a mount: by the name that a user gave them, by the name of the file that shows them, and by inode. One that
// is deleted while it is open goes when it is closed, as with any file.

import CopyOnWrite
import DiskIO
import FuseSession
import Glibc
import Synchronization
import SystemPackage

/// What there is to say of a checkpoint.
public struct CheckpointInfo: Equatable, Sendable {
  /// Its name.
  public var name: String
  /// The disk's size then, in bytes.
  public var size: UInt64
  /// Bytes that were written until then.
  public var writtenBytes: UInt64
  /// When it was made.
  public var created: Timestamp
  /// Whether the disk lies on it now.
  public var isBelow: Bool
}

/// A checkpoint that cannot be added.
public enum CheckpointError: Error, Equatable {
  /// There is one of this name.
  case nameTaken
}

/// The checkpoints of a mount.
final class Checkpoints: Sendable {
  private let state: Mutex<State>

  private struct State {
    var entries: [Entry] = []
    var nextInode: UInt64
  }

  struct Entry {
    let inode: UInt64
    /// Nil after it was deleted.
    var name: String?
    let checkpoint: Checkpoint
    let created: Timestamp
    var opens = 0

    /// By its bytes, as files are.
    func isNamed(_ other: String) -> Bool { name?.utf8.elementsEqual(other.utf8) ?? false }
  }

  /// - Parameter firstInode: the first inode number that nothing else has.
  init(firstInode: UInt64) {
    state = Mutex(State(nextInode: firstInode))
  }

  func add(_ checkpoint: Checkpoint, named name: String) throws(CheckpointError) {
    try state.withLock { (state) throws(CheckpointError) in
      guard !state.entries.contains(where: { $0.isNamed(name) }) else { throw .nameTaken }
      state.entries.append(Entry(inode: state.nextInode, name: name, checkpoint: checkpoint, created: .now))
      state.nextInode += 1
    }
  }

  /// Takes the name off a checkpoint.
  ///
  /// - Returns: whether it is gone; false where it is open, nil where there is none of this name.
  func remove(named name: String) -> Bool? {
    state.withLock { state in
      guard let index = state.entries.firstIndex(where: { $0.isNamed(name) }) else { return nil }
      state.entries[index].name = nil
      guard state.entries[index].opens == 0 else { return false }
      state.entries.remove(at: index)
      return true
    }
  }

  func find(named name: String) -> Entry? { state.withLock { $0.entries.first { $0.isNamed(name) } } }

  func find(inode: UInt64) -> Entry? { state.withLock { $0.entries.first { $0.inode == inode } } }

  /// Those that have names, in the order in which they were made.
  var all: [Entry] { state.withLock { $0.entries.filter { $0.name != nil } } }

  /// Notes that a file was opened.
  ///
  /// - Returns: whether there is such a checkpoint.
  func opened(_ inode: UInt64) -> Bool {
    state.withLock { state in
      guard let index = state.entries.firstIndex(where: { $0.inode == inode }) else { return false }
      state.entries[index].opens += 1
      return true
    }
  }

  /// Notes that a file was closed.
  ///
  /// - Returns: whether the checkpoint is gone now.
  func closed(_ inode: UInt64) -> Bool {
    state.withLock { state in
      guard let index = state.entries.firstIndex(where: { $0.inode == inode }) else { return false }
      state.entries[index].opens -= 1
      guard state.entries[index].opens == 0, state.entries[index].name == nil else { return false }
      state.entries.remove(at: index)
      return true
    }
  }
}
