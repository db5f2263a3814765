// Checkpoints of a mount: made, returned to, deleted, and merged when nobody can reach them any more. One thread does all of it,
// the one that answers requests for control.

internal import CopyOnWrite
internal import DiskIO
internal import Glibc
internal import ImageFS
internal import Logging
internal import MountControl
internal import SystemPackage

/// What a mount was, and may be again.
final class DiskHistory {
  private let disk: CowDisk
  private let fileSystem: ImageFileSystem
  private let questions: KeeperQuestions
  private let isReadOnly: Bool
  /// Whether to go on waiting for the keeper.
  private let isWanted: () -> Bool
  private let logger = Logger(label: "cowmount")
  /// What resets have thrown away and ``tidy()`` has not done away with.
  private var discarded: [DiscardedLayer] = []

  init(
    _ disk: CowDisk, _ fileSystem: ImageFileSystem, _ questions: KeeperQuestions, isReadOnly: Bool,
    isWanted: @escaping () -> Bool
  ) {
    self.disk = disk
    self.fileSystem = fileSystem
    self.questions = questions
    self.isReadOnly = isReadOnly
    self.isWanted = isWanted
  }

  /// Why nothing was done; and where it says more, what the system says.
  struct Refused: Error, Equatable {
    let reason: ControlRefusal
    var error: Errno?
  }

  /// Freezes the disk under a name.
  func checkpoint(_ name: CheckpointName) throws(Refused) {
    guard !isReadOnly else { throw Refused(reason: .readOnlyMount) }
    let name = name.description
    guard fileSystem.hasRoom(forCheckpoint: name) else { throw Refused(reason: .nameInvalid) }
    guard fileSystem.checkpoint(named: name) == nil else { throw Refused(reason: .nameTaken) }
    do throws(Errno) {
      let checkpoint = try disk.checkpoint(in: try questions.scratch(isWanted))
      // Nobody else adds any.
      try? fileSystem.add(checkpoint, named: name)
      logger.info("checkpoint \(name): \(checkpoint.size) bytes, \(checkpoint.writtenBytes) of them written")
    } catch {
      throw Self.refused(error)
    }
  }

  /// Throws away what was written since a checkpoint, or ever. Its space comes back with ``tidy()``.
  ///
  /// - Parameters:
  ///   - name: the checkpoint; nil for the image.
  ///   - isForced: whether to go ahead where others have the file open.
  func reset(to name: CheckpointName?, isForced: Bool) throws(Refused) {
    guard !isReadOnly else { throw Refused(reason: .readOnlyMount) }
    let checkpoint = try find(name)
    let others = othersWithFile()
    guard others == 0 || isForced else { throw Refused(reason: .inUse(UInt32(clamping: others))) }
    fileSystem.beginForgetting()
    defer { fileSystem.endForgetting() }
    do throws(Errno) {
      if let old = try disk.reset(to: checkpoint, in: try questions.scratch(isWanted)) { discarded.append(old) }
    } catch {
      throw Self.refused(error)
    }
    logger.info("reset to \(name?.description ?? "the image")")
    do throws(Errno) {
      try questions.forget(UInt64(Int64.max), size: disk.size, isWanted)
    } catch {
      logger.error("the kernel could not be told of the reset: \(error)")
      throw Refused(reason: .stale, error: error)
    }
  }

  /// Deletes a checkpoint.
  func delete(_ name: CheckpointName) throws(Refused) {
    guard !isReadOnly else { throw Refused(reason: .readOnlyMount) }
    guard fileSystem.removeCheckpoint(named: name.description) else { throw Refused(reason: .unknownName) }
  }

  /// Gives up what nobody can reach any more.
  func tidy() {
    discarded = []
    do throws(Errno) {
      try disk.mergeLayers()
    } catch {
      // It is tried again after the next deletion or reset.
      logger.warning("layers of deleted checkpoints stay for now: \(error)")
    }
  }

  // MARK: Looking

  /// The checkpoints from one on.
  func checkpoints(from first: UInt64) -> CheckpointPage {
    let all = fileSystem.checkpointList
    let shown = all.dropFirst(Int(clamping: first)).prefix(CheckpointPage.limit)
    let now = time(nil)
    let entries = shown.compactMap { info in
      CheckpointName(info.name).map { name in
        CheckpointPage.Entry(
          name: name, size: info.size, written: info.writtenBytes, age: UInt64(max(0, now - info.created.seconds)),
          isBelow: info.isBelow)
      }
    }
    return CheckpointPage(entries, hasMore: Int(clamping: first) + shown.count < all.count)
  }

  /// What of the disk, or of a checkpoint, was changed since another, from a place on.
  func nextChange(
    of name: CheckpointName?, since: CheckpointName?
  ) throws(Refused) -> (_ offset: UInt64, _ effort: Int) -> CowDisk.ChangeSearch {
    let older = try find(since)
    guard let checkpoint = try find(name) else {
      if let older, !disk.liesOn(older) { throw Refused(reason: .unrelated) }
      return { [disk] in disk.nextChange(from: $0, effort: $1, since: older) }
    }
    if let older, !checkpoint.liesOn(older) { throw Refused(reason: .unrelated) }
    return { checkpoint.nextChange(from: $0, effort: $1, since: older) }
  }

  private func find(_ name: CheckpointName?) throws(Refused) -> Checkpoint? {
    guard let name else { return nil }
    guard let checkpoint = fileSystem.checkpoint(named: name.description) else { throw Refused(reason: .unknownName) }
    return checkpoint
  }

  /// How many besides the asker have the file open. The kernel tells of a close after close(2) has returned, so it is given a
  /// moment.
  private func othersWithFile() -> Int {
    for _ in 0..<100 where fileSystem.openCount > 1 { usleep(5000) }
    return max(0, fileSystem.openCount - 1)
  }

  private static func refused(_ error: Errno) -> Refused {
    switch error {
    case .resourceBusy: Refused(reason: .busy)
    case .noSpace, .diskQuotaExceeded: Refused(reason: .noSpace, error: error)
    case .tooManyOpenFiles, .noMemory: Refused(reason: .tooMany, error: error)
    default: Refused(reason: .keeperFailed, error: error)
    }
  }
}
