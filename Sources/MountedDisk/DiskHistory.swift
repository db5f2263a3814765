// Checkpoints of a mount: made, returned to, deleted, and merged when nobody can reach them any more. One thread does all of it,
// the one that answers requests for control.

internal import CopyOnWrite
internal import Glibc
internal import ImageFS
internal import Logging
internal import SystemPackage

/// Why the history of a mount stays as it is.
enum HistoryError: Error, Equatable {
  /// There is a checkpoint of this name.
  case nameTaken
  /// There is none of this name.
  case unknownName
  /// No checkpoint can have this name.
  case invalidName
  /// So many others have the file open or mapped.
  case inUse(Int)
  /// Nobody may change this mount.
  case readOnly
  /// Requests for the image did not end.
  case busy
  /// The overlay has no room, or this process no descriptors, for another layer.
  case noRoom(Errno)
  /// The disk was reset, but the kernel may still have some of what it was.
  case stale(Errno)
}

/// What a mount was, and may be again.
final class DiskHistory {
  private let disk: CowDisk
  private let fileSystem: ImageFileSystem
  private let questions: KeeperQuestions
  private let isReadOnly: Bool
  private let logger = Logger(label: "cowmount")
  /// Whether to go on waiting for the keeper.
  private let isServing: () -> Bool

  init(
    _ disk: CowDisk, _ fileSystem: ImageFileSystem, _ questions: KeeperQuestions, isReadOnly: Bool,
    isServing: @escaping () -> Bool
  ) {
    self.disk = disk
    self.fileSystem = fileSystem
    self.questions = questions
    self.isReadOnly = isReadOnly
    self.isServing = isServing
  }

  /// Longest name of a checkpoint in bytes. A file name has 255, and the exposed file's name is part of it.
  static let longestName = 200

  /// Freezes the disk under a name.
  func checkpoint(_ name: String) throws(HistoryError) {
    guard !isReadOnly else { throw .readOnly }
    guard Self.isName(name), fileSystem.hasRoom(forCheckpoint: name) else { throw .invalidName }
    guard fileSystem.checkpoint(named: name) == nil else { throw .nameTaken }
    let checkpoint: Checkpoint
    do throws(Errno) {
      checkpoint = try disk.checkpoint(in: try questions.scratch(isServing))
    } catch {
      throw Self.reason(error)
    }
    // Nobody else adds any.
    try? fileSystem.add(checkpoint, named: name)
    logger.info("checkpoint \(name): \(checkpoint.size) bytes, \(checkpoint.writtenBytes) of them written")
  }

  /// Throws away what was written since a checkpoint, or ever.
  ///
  /// - Parameters:
  ///   - name: the checkpoint; nil for the image.
  ///   - isForced: whether to go ahead where others have the file open.
  /// - Returns: how many others had it open.
  func reset(to name: String?, isForced: Bool) throws(HistoryError) -> Int {
    guard !isReadOnly else { throw .readOnly }
    var checkpoint: Checkpoint?
    if let name {
      checkpoint = fileSystem.checkpoint(named: name)
      if checkpoint == nil { throw .unknownName }
    }
    let others = othersWithFile()
    guard others == 0 || isForced else { throw .inUse(others) }
    fileSystem.beginForgetting()
    defer { fileSystem.endForgetting() }
    do throws(Errno) {
      try disk.reset(to: checkpoint, in: try questions.scratch(isServing))
    } catch {
      throw Self.reason(error)
    }
    logger.info("reset to \(name ?? "the image")")
    do throws(Errno) {
      try questions.forget(UInt64(Int64.max), size: disk.size, isServing)
    } catch {
      logger.error("the kernel could not be told of the reset: \(error)")
      throw .stale(error)
    }
    tidy()
    return others
  }

  /// Deletes a checkpoint.
  func delete(_ name: String) throws(HistoryError) {
    guard !isReadOnly else { throw .readOnly }
    guard fileSystem.removeCheckpoint(named: name) else { throw .unknownName }
  }

  /// Gives up what nobody can reach any more.
  func tidy() {
    do throws(Errno) {
      try disk.mergeLayers()
    } catch {
      // It is tried again after the next deletion or reset.
      logger.warning("layers of deleted checkpoints stay for now: \(error)")
    }
  }

  /// How many besides the asker have the file open. The kernel tells of a close after close(2) has returned, so it is given a
  /// moment.
  private func othersWithFile() -> Int {
    for _ in 0..<100 where fileSystem.openCount > 1 { usleep(5000) }
    return max(0, fileSystem.openCount - 1)
  }

  /// Whether a checkpoint may have this name: a part of a file name that can be typed and printed.
  static func isName(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= longestName && name != "." && name != ".."
      && name.unicodeScalars.allSatisfy { $0 != "/" && $0 != "@" && $0.properties.generalCategory != .control }
  }

  private static func reason(_ error: Errno) -> HistoryError {
    error == .resourceBusy ? .busy : .noRoom(error)
  }
}
