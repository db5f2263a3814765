// The process without rights of a mount: finds out what the image is, and serves it.

internal import CopyOnWrite
internal import DiskIO
internal import FuseSession
internal import Glibc
internal import ImageFS
internal import Images
internal import Logging
internal import MountControl
internal import SystemPackage
internal import VirtualDisks

/// What the server of a mount is given by the keeper.
struct MountServer {
  let settings: MountSettings
  let source: HeldSource
  let overlay: Overlay
  let mountpoint: Mountpoint
  let session: FuseSession
  let copyCondition: CopyCondition?
  /// For the overlay, and to decompress to: descriptors.
  let scratch: CInt
  let decompressed: CInt?
  /// Who mounts.
  let mounter: Owner.Caller
  /// Most bytes that the overlay, and what is decompressed to the same place, may take together; nil for what there is.
  let limit: UInt64?
  /// How many processors the machine has.
  let processors: Int

  /// Serves until the end.
  ///
  /// - Returns: the process's exit status.
  func run(_ link: KeeperLink) -> CInt {
    do {
      return try serve(link)
    } catch let error as StartedServer.Unusable {
      link.send(.failed(text: "\(error.reason)", isUsage: false, serverMayHaveEnded: error.mayHaveEnded))
    } catch let error as MountFailure {
      link.send(.failed(text: error.description, isUsage: error.isUsage, serverMayHaveEnded: false))
    } catch {
      link.send(.failed(text: "\(error)", isUsage: false, serverMayHaveEnded: false))
    }
    return 1
  }

  private func serve(_ link: KeeperLink) throws -> CInt {
    let whole: any Image
    let format: SourceFormat
    switch try source.open(settings.source, link: link, scratch: decompressed, limit: limit ?? .max) {
    case .image(let image, let its): (whole, format) = (image, its)
    case .virtualDisk(let format):
      link.send(.virtualDisk(format))
      return 0
    }
    let image = try settings.window.window(over: whole) { link.send(.complaint($0)) }
    if image.size == 0 {
      link.send(.complaint("\(image.source) shows nothing: what is mounted is an empty file; --size makes it larger"))
    }
    let disk = try overlay.disk(
      over: image, in: .scratch(adopting: scratch), geometry: settings.geometry, options: diskOptions(over: image))
    checkSpace(for: image, in: disk, link)
    let (fileSystem, name) = try makeFileSystem(disk, image)
    link.send(.mountable(name: name.carriedBytes))
    guard case .message(let wire, .some(let device)) = link.socket.receive(takesDescriptor: true),
      case .device? = KeeperMessage(wire)
    else {
      return 1
    }
    let conditions = MountConditions()
    var watch = Watch(image: image, disk: disk, conditions: conditions)
    try session.serve(fileSystem, on: device, threads: threads(for: image)) { watch.look() }
    let writeBacks = WriteBacks(link)
    if let cache = session.kernelCache(ask: writeBacks.ask) { fileSystem.attach(cache) }
    if let counts = session.requestCounts {
      let report = MountReport(
        settings: settings, overlay: overlay, limit: limit, whole: whole, format: format,
        lock: source.lock(settings.source),
        image: image, disk: disk, fileSystem: fileSystem, counts: counts, conditions: conditions)
      let desk = ControlDesk(report)
      fileSystem.attach { desk.take($0, $1) }
    }
    let logger = Logger(label: "cowmount")
    logger.info("\(image.source) is writable at \(mountpoint.path), \(disk.size) bytes")
    let prefetch = settings.copies.prefetches ? Prefetch(disk, of: image) : nil
    link.send(.serving(size: disk.size, modified: image.status.modified))
    let loop = ServerLoop(link, session, writeBacks, image: image, prefetch: prefetch, disk: disk)
    return loop.run()
  }

  private func diskOptions(over image: any Image) -> CowDisk.Options {
    let copies = settings.copies
    let onRead: CowDisk.CopyOnRead =
      switch copyCondition {
      case .some(let condition): .asLongAs { condition.holds }
      case .none: copies.onRead || copies.prefetches ? .always : .never
      }
    return CowDisk.Options(
      maxOverlay: limit.map { $0 - min($0, image.scratchBytes) }, detectZeroes: settings.detectsZeroes,
      copyOnRead: onRead)
  }

  /// Says so where the overlay cannot take a whole image. What it takes is worth having all the same.
  private func checkSpace(for image: any Image, in disk: CowDisk, _ link: KeeperLink) {
    guard settings.copies.prefetches, let space = try? disk.spaceForCopies(), space / 512 < image.dataSectors else {
      return
    }
    link.send(
      .complaint(
        """
        --prefetch will not copy all of \(image.source): it may have \(humanSize(image.dataSectors * 512)) of data, and \
        the overlay has room for copies of \(humanSize(space))
        """))
  }

  /// Most workers, where the user asks for no number.
  static let mostThreads = 16

  private func threads(for image: any Image) -> Int {
    settings.threads ?? (image.isRemote ? Self.mostThreads : min(Self.mostThreads, max(4, 2 * processors)))
  }

  private func makeFileSystem(_ disk: CowDisk, _ image: any Image) throws -> (ImageFileSystem, String) {
    guard let name = settings.name ?? image.name else {
      throw MountFailure("\(image.source) has no name; give one with --name", isUsage: true)
    }
    let owner = Owner(of: image.access, for: mounter, readOnly: settings.isReadOnly)
    let time = image.status.modified
    // Who may go through the mountpoint may go through the mount.
    let directory = InodeAttributes.directory(
      inode: rootInode, permissions: mountpoint.permissions, user: mountpoint.user, group: mountpoint.group, time: time)
    let file = InodeAttributes.file(
      inode: mountpoint.isDirectory ? exposedFileInode : rootInode, permissions: owner.permissions, user: owner.user,
      group: owner.group, time: time)
    let fileSystem = ImageFileSystem(
      disk, name: name, file: file, directory: mountpoint.isDirectory ? directory : nil,
      baseSectors: image.dataSectors, isReadOnly: settings.isReadOnly)
    return (fileSystem, name)
  }
}
