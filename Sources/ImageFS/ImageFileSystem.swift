// The file system with one file: turns requests of the kernel into calls of the engine.
//
// Mounted on a directory, the root is that directory and the file is in it; mounted on a regular file, the root is the
// file. This is the border where ranges are clamped: the engine is only asked for bytes that the disk has.
//
// The kernel caches writes and owns size and times (writeback cache). Two things follow. A read may come for bytes beyond
// our end that the kernel knows to be a hole before data it still holds: a short answer is right, it fills in zeros. And
// a seek must not call a hole what the kernel holds data for: see ImageFileSystem+Space.swift.

import CopyOnWrite
import DiskIO
import FuseSession
import Glibc
import Synchronization
import SystemPackage

/// Shows a ``CowDisk`` as a file.
public final class ImageFileSystem: FileSystem, @unchecked Sendable {
  // SAFETY: stored properties are constants that are Sendable, or behind a Mutex.
  let disk: CowDisk
  let name: String
  let baseSectors: UInt64
  private let isReadOnly: Bool
  private let fileAttributes: Mutex<InodeAttributes>
  private let directoryAttributes: Mutex<InodeAttributes>?
  let problems = ProblemLog()
  private let cache = Mutex<KernelCache?>(nil)
  let checkpoints: Checkpoints
  private let afterDeletion = Mutex<(@Sendable () -> Void)?>(nil)
  /// How often the exposed file is open.
  let opens = Atomic(0)
  /// Whether the disk is being reset. See ``beginForgetting()``.
  let isForgetting = Atomic(false)
  private let controller = Mutex<Controller?>(nil)

  /// Creates the file system.
  ///
  /// - Parameters:
  ///   - disk: what the file contains.
  ///   - name: the file's name in the directory.
  ///   - file: the file's first attributes; its inode is the root where there is no directory.
  ///   - directory: those of the directory, or nil where the file itself is the root.
  ///   - baseSectors: units of 512 bytes that are data in the base.
  ///   - isReadOnly: whether the kernel refuses writes, and so never holds any back.
  public init(
    _ disk: CowDisk, name: String, file: InodeAttributes, directory: InodeAttributes?, baseSectors: UInt64,
    isReadOnly: Bool
  ) {
    self.disk = disk
    self.name = name
    self.baseSectors = baseSectors
    self.isReadOnly = isReadOnly
    fileInode = file.inode
    checkpoints = Checkpoints(firstInode: file.inode + 1)
    fileAttributes = Mutex(file)
    directoryAttributes =
      switch directory {
      case .some(let directory): Mutex(directory)
      case .none: nil
      }
    super.init(gate: disk.requests)
  }

  /// Inode number of the file.
  let fileInode: UInt64

  /// Gives access to the kernel's cache, once there is a session.
  public func attach(_ cache: KernelCache) {
    if !isReadOnly { self.cache.withLock { $0 = cache } }
  }

  /// Has somebody told when a checkpoint is deleted and closed: its space may be wanted back.
  public func attach(afterDeletion: @escaping @Sendable () -> Void) {
    self.afterDeletion.withLock { $0 = afterDeletion }
  }

  func checkpointIsGone() {
    // Not within the lock: what is called may ask something of us.
    let told = afterDeletion.withLock { $0 }
    told?()
  }

  /// Answers an ioctl on the file, then or later.
  public typealias Controller = @Sendable (consuming Request, ControlCall) -> Void

  /// Has somebody answer to control, once there is a session.
  public func attach(_ controller: @escaping Controller) { self.controller.withLock { $0 = controller } }

  /// Requests that failed, and one of the last of them in words.
  public var failures: (count: UInt64, last: String?) { problems.failures }

  /// The kernel's cache, where it may hold writes back.
  var kernelCache: KernelCache? { cache.withLock { $0 } }

  // MARK: Names and attributes

  private func attributes(of inode: UInt64) -> InodeAttributes? {
    if inode == fileInode {
      var attributes = fileAttributes.withLock { $0 }
      attributes.size = disk.size
      attributes.sectors = sectors(size: attributes.size)
      return attributes
    }
    switch directoryAttributes {
    case .some(let attributes) where inode == rootInode: return attributes.withLock { $0 }
    default: return checkpoints.find(inode: inode).map(attributes(of:))
    }
  }

  /// Whether files are shown in a directory.
  var hasDirectory: Bool {
    switch directoryAttributes {
    case .some: true
    case .none: false
    }
  }

  /// Those of the exposed file, but for its size.
  var exposedAttributes: InodeAttributes { fileAttributes.withLock { $0 } }

  /// Never less than there is data: tar and cp take a file without blocks for a hole. What lies in both base and overlay
  /// is counted twice, up to the file's size.
  private func sectors(size: UInt64) -> UInt64 {
    min((size + 511) / 512, baseSectors + disk.allocatedBytes / 512)
  }

  public override func lookUp(_ request: consuming Request, name: UnsafePointer<CChar>, in parent: UInt64) {
    guard directoryAttributes != nil, parent == rootInode else { return request.fail(.notDirectory) }
    if self.name.withCarriedCString({ strcmp($0, name) }) == 0, let attributes = attributes(of: fileInode) {
      return request.reply(entry: attributes, isLasting: true)
    }
    guard let checkpoint = checkpointName(ofFile: name) else { return request.replyNoEntry(isLasting: true) }
    guard let entry = checkpoints.find(named: checkpoint) else { return request.replyNoEntry(isLasting: false) }
    // Not to be kept: another may get the name, and who may read it changes with the exposed file.
    request.reply(entry: attributes(of: entry), isLasting: false)
  }

  public override func remove(_ request: consuming Request, name: UnsafePointer<CChar>, in parent: UInt64) {
    guard directoryAttributes != nil, parent == rootInode else { return request.fail(.notDirectory) }
    guard let checkpoint = checkpointName(ofFile: name) else { return request.fail(.notPermitted) }
    guard removeCheckpoint(named: checkpoint) else { return request.fail(.noSuchFileOrDirectory) }
    request.succeed()
  }

  public override func opening(_ inode: UInt64, forWriting isWriter: Bool) -> Errno? {
    if inode == fileInode {
      opens.add(1, ordering: .acquiringAndReleasing)
      return nil
    }
    // Root is not asked for permission.
    if isWriter { return .readOnlyFileSystem }
    return checkpoints.opened(inode) ? nil : .noSuchFileOrDirectory
  }

  public override func closed(_ inode: UInt64) {
    if inode == fileInode {
      opens.subtract(1, ordering: .acquiringAndReleasing)
    } else if checkpoints.closed(inode) {
      checkpointIsGone()
    }
  }

  public override func getAttributes(_ request: consuming Request, inode: UInt64) {
    guard let attributes = attributes(of: inode) else { return request.fail(.noSuchFileOrDirectory) }
    request.reply(attributes: attributes, isLasting: inode == fileInode || inode == rootInode)
  }

  public override func setAttributes(
    _ request: consuming Request, inode: UInt64, to new: InodeAttributes, changes: AttributeChanges
  ) {
    if inode != fileInode, inode != rootInode { return request.fail(.notPermitted) }
    if changes.contains(.size) {
      guard inode == fileInode else { return request.fail(.isDirectory) }
      do {
        try disk.resize(to: new.size)
      } catch {
        problems.report("resize to \(new.size) bytes", error)
        return request.fail(error)
      }
    }
    if inode == fileInode {
      fileAttributes.withLock { $0.apply(changes, from: new) }
    } else {
      switch directoryAttributes {
      case .some(let attributes): attributes.withLock { $0.apply(changes, from: new) }
      case .none: break
      }
    }
    getAttributes(request, inode: inode)
  }

  public override func readDirectory(
    _ request: consuming Request, inode: UInt64, from position: Int, size: Int, answer: AnswerBuffer
  ) {
    guard inode == rootInode, directoryAttributes != nil else { return request.fail(.notDirectory) }
    // Each entry's position is that of the one after it, and stays when checkpoints come and go: their inodes only grow.
    let shown = checkpoints.all.compactMap { entry in entry.name.map { (name + Self.mark + $0, entry.inode) } }
    let entries = [(".", rootInode), ("..", rootInode), (name, fileInode)] + shown
    let room = UnsafeMutableRawBufferPointer(rebasing: answer.bytes[..<min(size, answer.bytes.count)])
    var used = 0
    for (index, entry) in entries.enumerated() {
      let next = index < 3 ? index + 1 : Int(entry.1) + 1
      guard next > position, let attributes = attributes(of: entry.1) else { continue }
      let rest = UnsafeMutableRawBufferPointer(rebasing: room[used...])
      let length = request.addDirectoryEntry(entry.0, attributes: attributes, next: next, to: rest)
      if length > rest.count { break }
      used += length
    }
    request.reply(bytes: UnsafeRawBufferPointer(rebasing: room[..<used]))
  }

  // MARK: Data

  public override func read(
    _ request: consuming Request, inode: UInt64, offset: UInt64, size: Int, answer: AnswerBuffer
  ) {
    guard inode == fileInode else {
      guard let entry = checkpoints.find(inode: inode) else { return request.fail(.isDirectory) }
      return serveRead(request, of: entry.checkpoint, offset: offset, size: size, answer: answer)
    }
    let end = disk.size
    guard offset < end else { return request.reply(bytes: UnsafeRawBufferPointer(start: nil, count: 0)) }
    let count = Int(min(UInt64(min(size, AnswerBuffer.size)), end - offset))
    do {
      let filled = try disk.gather(at: offset, count: count, scratch: answer.bytes, into: answer.vectors)
      request.reply(vectors: UnsafeMutableBufferPointer(rebasing: answer.vectors[..<filled]))
    } catch {
      problems.report("read of \(count) bytes at \(offset)", error)
      request.fail(error)
    }
  }

  public override func write(
    _ request: consuming Request, inode: UInt64, offset: UInt64, bytes: UnsafeRawBufferPointer, wasHeldBack: Bool
  ) {
    guard inode == fileInode else { return request.fail(.isDirectory) }
    if wasHeldBack, isForgetting.load(ordering: .acquiring) { return request.reply(written: bytes.count) }
    do {
      try disk.write(bytes, at: offset)
      request.reply(written: bytes.count)
    } catch {
      problems.report("write of \(bytes.count) bytes at \(offset)", error)
      if wasHeldBack { kernelCache?.refused(error) }
      request.fail(error)
    }
  }

  // MARK: Space

  public override func allocate(
    _ request: consuming Request, inode: UInt64, mode: CInt, offset: UInt64, count: UInt64
  ) {
    serveAllocate(request, inode: inode, mode: mode, offset: offset, count: count)
  }

  public override func seek(_ request: consuming Request, inode: UInt64, offset: UInt64, whence: CInt) {
    serveSeek(request, inode: inode, offset: offset, whence: whence)
  }

  public override func control(_ request: consuming Request, inode: UInt64, _ call: ControlCall) {
    guard inode == fileInode, let controller = controller.withLock({ $0 }) else {
      return request.fail(.inappropriateIOCTLForDevice)
    }
    controller(request, call)
  }

  public override func statistics(_ request: consuming Request) {
    serveStatistics(request)
  }
}
