// cowmount mount: the options, what they may be, and what a mount is made of. How the process goes to the background is
// in Background.swift.

internal import ArgumentParser
internal import BaseImage
internal import CopyOnWrite
internal import DiskIO
internal import FuseSession
internal import Glibc
internal import ImageFS
internal import Logging
internal import SystemPackage

struct Mount: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a read-only disk image writable without copying it.",
    usage: """
      cowmount [<options>] <image> <mountpoint>
      cowmount [<options>] <mountpoint> [ <command> ... ]
      """,
    discussion: """
      `cowmount disk.img /mnt/overlay` shows disk.img as the writable file /mnt/overlay/disk.img. What is written goes \
      to an unnamed temporary file and is gone when the mount ends: `fusermount3 -u /mnt/overlay`. The image itself is \
      never written.
      """)

  @Argument(help: "The image: a regular file, a block device, or the URI of an NBD server's export. It is only read.")
  var image: String

  @Argument(
    help: """
      Where the writable file appears: in this directory under the image's name, or, where this is a regular file, at \
      that very path.
      """)
  var mountpoint: String

  @Flag(name: .shortAndLong, help: "Stay in the foreground and log to standard error.")
  var foreground = false

  @Option(
    name: .customShort("o"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp(
      "Mount options as fuse programs take them (ro, allow_other, …); long options of this command too, without --.",
      valueName: "options"))
  var mountOptions: [String] = []

  @Flag(name: .long, help: "Refuse writes.")
  var readOnly = false

  @Option(
    name: .long,
    help: ArgumentHelp("The unit of copy-on-write, a power of two from 4k to 2M.", valueName: "size"))
  var blockSize = ByteSize(bytes: 4096)

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Directory whose file system holds what is written. (default: $TMPDIR, else /var/tmp)", valueName: "dir"))
  var overlayDir: String?

  @Flag(
    name: .long, help: "Keep what is written in memory. Without --max-overlay at most half of the machine's memory.")
  var memory = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Most bytes that written blocks may take; beyond, writers get ENOSPC. (default: what the file system has)",
      valueName: "size"))
  var maxOverlay: ByteSize?

  @Option(
    name: .long,
    help: ArgumentHelp("on: blocks that are written full of zeros take no space.", valueName: "on|off"))
  var detectZeroes = Switch.off

  @OptionGroup(title: "Slow images")
  var copy: CopyOptions

  @OptionGroup(title: "Formats")
  var source: SourceOptions

  @OptionGroup(title: "Parts of an image")
  var window: WindowOptions

  @Flag(name: .long, help: "Use an image that another program has open for writing. What is read may be inconsistent.")
  var forceShare = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "none: leave nothing of the image in the page cache, which has the mount's pages.", valueName: "none|default"))
  var baseCache = BaseCache.default

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Threads that serve the mount, 2 to 256. (default: twice the processors; 16 for an NBD server)", valueName: "n"))
  var threads: Int?

  @Option(name: .long, help: "Name of the file in the directory. (default: the image's name)")
  var name: String?

  @Flag(name: .long, help: "Mount over a directory that is not empty, or over another mount.")
  var nonempty = false

  @Flag(name: .shortAndLong, help: "Log more.")
  var verbose = false

  mutating func validate() throws {
    guard Geometry(blockSize: Int(blockSize.bytes)) != nil else {
      throw ValidationError("--block-size \(blockSize) must be a power of two from 4k to 2M")
    }
    if memory, overlayDir != nil {
      throw ValidationError("--memory and --overlay-dir exclude each other: what is written goes to one place")
    }
    if let threads, !(2...256).contains(threads) {
      throw ValidationError("--threads \(threads) must be from 2 to 256")
    }
    if let name, !Self.isFileName(name) {
      throw ValidationError("--name '\(name)' must be a file name: no slash, not . or .., 1 to 255 bytes")
    }
  }

  private static func isFileName(_ name: String) -> Bool {
    // In bytes: a slash with an accent behind it is a slash to the kernel.
    !name.utf8.contains(UInt8(ascii: "/")) && name != "." && name != ".." && (1...255).contains(name.utf8.count)
  }

  mutating func run() throws {
    Privileges.closeInherited()
    // A reader of our messages who went away must not take the mount with it.
    signal(SIGPIPE, SIG_IGN)
    let starter = try foreground ? nil : Background.enter()
    Log.start(toSystem: !foreground, verbose: verbose)
    try serve { starter?.ready() }
  }

  /// Everything from looking at the image to the end of the mount. `ready` is called when the mount can be used.
  private func serve(ready: () -> Void) throws {
    let image = try openImage()
    let mountpoint = try Mountpoint(FilePath(self.mountpoint), allowNonEmpty: nonempty, deadType: "fuse.cowmount")
    if mountpoint.clearedDeadMount {
      Cowmount.complain("cleared the dead mount that a killed cowmount had left at \(mountpoint.path)")
    }
    let disk = try makeDisk(over: image, mountpoint: mountpoint)
    copy.checkSpace(for: image, in: disk)
    let fileSystem = try makeFileSystem(disk, image: image, mountpoint: mountpoint)
    let session = try FuseSession(
      fileSystem, at: mountpoint, options: MountOptions(mountOptions).forFuse(image: image.source, readOnly: readOnly))
    var watch = Watch(image: image, disk: disk)
    let drop = { @Sendable in Privileges.drop(for: image) }
    try session.start(threads: threads ?? Self.threads(for: image), eachThread: drop) { watch.look() }
    drop()
    fileSystem.attach(session.kernelCache)
    let logger = Logger(label: "cowmount")
    logger.info("\(image.source) is writable at \(mountpoint.path), \(disk.size) bytes")
    ready()
    let prefetch = copy.prefetch ? Prefetch(disk, of: image) : nil
    let statistics = Statistics(image: image, disk: disk)
    let end = session.waitForEnd { statistics.tell(.notice) }
    // Before workers are waited for.
    image.prepareToEnd()
    prefetch?.stop()
    switch end {
    case .unmounted: logger.info("unmounted")
    case .failed: logger.error("the kernel's FUSE device failed; the mount ends")
    case .signal(let signal): logger.info("ending on signal \(signal)")
    }
    let isIdle = session.stop()
    statistics.tell(.info)
    if !isIdle { _exit(0) }
    if end == .failed { throw ExitCode.failure }
  }

  private func openImage() throws -> any Image {
    let image = try source.open(
      image, sharesWithWriters: forceShare, avoidsCache: baseCache == .none, overlayDir: overlayDir, inMemory: memory,
      scratchLimit: spaceLimit, starter: foreground ? nil : getppid())
    return try window.window(over: image) { Cowmount.complain($0) }
  }

  /// Most bytes that the overlay, and what is decompressed to the same place, may take together.
  private var spaceLimit: UInt64? { maxOverlay?.bytes ?? (memory ? Overlay.defaultMemory : nil) }

  private static let mostThreads = 16

  private static func threads(for image: any Image) -> Int {
    image.isRemote ? mostThreads : min(mostThreads, max(4, 2 * sysconf(CInt(_SC_NPROCESSORS_ONLN))))
  }

  private func makeDisk(over image: any Image, mountpoint: Mountpoint) throws -> CowDisk {
    let options = CowDisk.Options(
      maxOverlay: spaceLimit.map { $0 - min($0, image.scratchBytes) }, detectZeroes: detectZeroes == .on,
      copyOnRead: try copy.copyOnRead(avoiding: mountpoint))
    let overlay = memory ? Overlay.memory : try Overlay(directory: overlayDir, avoiding: mountpoint)
    return try overlay.disk(over: image, blockSize: Int(blockSize.bytes), options: options)
  }

  private func makeFileSystem(
    _ disk: CowDisk, image: any Image, mountpoint: Mountpoint
  ) throws -> ImageFileSystem {
    if name != nil, !mountpoint.isDirectory {
      throw ValidationError("--name has no meaning where the mountpoint is a file: the file keeps its name")
    }
    guard let fileName = name ?? image.name else {
      throw ValidationError("\(self.image) has no name; give one with --name")
    }
    let owner = Owner(of: image.access, readOnly: readOnly)
    let time = image.status.modified
    // Who may go through the mountpoint may go through the mount.
    let directory = InodeAttributes.directory(
      inode: rootInode, permissions: mountpoint.permissions, user: mountpoint.user, group: mountpoint.group, time: time)
    let file = InodeAttributes.file(
      inode: mountpoint.isDirectory ? rootInode + 1 : rootInode, permissions: owner.permissions, user: owner.user,
      group: owner.group, time: time)
    return ImageFileSystem(
      disk, name: fileName, file: file, directory: mountpoint.isDirectory ? directory : nil,
      baseSectors: image.dataSectors, isReadOnly: readOnly)
  }
}

extension ByteSize: ExpressibleByArgument {}

/// The value of an option that is on or off.
enum Switch: String, ExpressibleByArgument {
  case on, off
}

/// What the kernel caches of the file that an image is in.
enum BaseCache: String, ExpressibleByArgument {
  case none, `default`
}
