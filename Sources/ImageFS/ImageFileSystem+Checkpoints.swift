// Checkpoints as files beside the exposed one, `disk.img@NAME`, which can be read and deleted and nothing else; and what the file
// system does while the disk is reset.

import CopyOnWrite
import DiskIO
import FuseSession
import Glibc
import Synchronization
import SystemPackage

extension ImageFileSystem {
  /// What is between the exposed file's name and that of a checkpoint.
  static let mark = "@"

  // MARK: For who controls the mount

  /// Shows a checkpoint of the disk.
  public func add(_ checkpoint: Checkpoint, named name: String) throws(CheckpointError) {
    try checkpoints.add(checkpoint, named: name)
  }

  /// Whether a file name can have the exposed file's name and that of a checkpoint.
  public func hasRoom(forCheckpoint checkpoint: String) -> Bool {
    !hasDirectory || (name + Self.mark + checkpoint).carriedBytes.count <= Int(NAME_MAX)
  }

  /// The checkpoint of this name; nil where there is none.
  public func checkpoint(named name: String) -> Checkpoint? { checkpoints.find(named: name)?.checkpoint }

  /// Deletes a checkpoint. Who has it open keeps it until then.
  ///
  /// - Returns: whether there was one of this name.
  public func removeCheckpoint(named name: String) -> Bool {
    guard let isGone = checkpoints.remove(named: name) else { return false }
    if isGone { checkpointIsGone() }
    return true
  }

  /// The checkpoints that have names, the oldest first.
  public var checkpointList: [CheckpointInfo] {
    checkpoints.all.compactMap { entry in
      guard let name = entry.name else { return nil }
      return CheckpointInfo(
        name: name, size: entry.checkpoint.size, writtenBytes: entry.checkpoint.writtenBytes, created: entry.created,
        isBelow: disk.liesOn(entry.checkpoint))
    }
  }

  /// How often the exposed file is open now, mappings included.
  public var openCount: Int { opens.load(ordering: .acquiring) }

  /// From now on, what the kernel holds back of the exposed file is thrown away when it comes, and so is the hole by which the
  /// kernel is told to forget what it has: the disk is being reset, and these are from before.
  public func beginForgetting() { isForgetting.store(true, ordering: .releasing) }

  /// The kernel knows nothing from before any more.
  public func endForgetting() { isForgetting.store(false, ordering: .releasing) }

  // MARK: For the kernel

  func attributes(of entry: Checkpoints.Entry) -> InodeAttributes {
    var attributes = exposedAttributes
    attributes.inode = entry.inode
    attributes.mode = attributes.mode & ~0o222
    attributes.size = entry.checkpoint.size
    attributes.sectors = min((attributes.size + 511) / 512, baseSectors + entry.checkpoint.writtenBytes / 512)
    attributes.accessed = entry.created
    attributes.modified = entry.created
    attributes.changed = entry.created
    return attributes
  }

  /// The checkpoint that the file of this name shows.
  func checkpointName(ofFile name: UnsafePointer<CChar>) -> String? {
    let bytes = UnsafeRawBufferPointer(start: name, count: strlen(name))
    let prefix = (self.name + Self.mark).carriedBytes
    return bytes.starts(with: prefix) ? String(validating: bytes.dropFirst(prefix.count), as: UTF8.self) : nil
  }

  func serveRead(
    _ request: consuming Request, of checkpoint: Checkpoint, offset: UInt64, size: Int, answer: AnswerBuffer
  ) {
    let end = checkpoint.size
    guard offset < end else { return request.reply(bytes: UnsafeRawBufferPointer(start: nil, count: 0)) }
    let count = Int(min(UInt64(min(size, AnswerBuffer.size)), end - offset))
    let bytes = UnsafeMutableRawBufferPointer(rebasing: answer.bytes[..<count])
    do {
      try checkpoint.read(into: bytes, at: offset)
      request.reply(bytes: UnsafeRawBufferPointer(bytes))
    } catch {
      problems.report("read of \(count) bytes of a checkpoint at \(offset)", error)
      request.fail(error)
    }
  }

  func serveSeek(_ request: consuming Request, in checkpoint: Checkpoint, offset: UInt64, seeksData: Bool) {
    do throws(Errno) {
      let size = checkpoint.size
      guard offset < size else { throw .noSuchAddressOrDevice }
      let first = try checkpoint.extent(at: offset)
      if first.isData == seeksData { return request.reply(offset: offset) }
      if first.end < size { return request.reply(offset: first.end) }
      if seeksData { throw .noSuchAddressOrDevice }
      request.reply(offset: size)
    } catch {
      request.fail(error)
    }
  }
}
