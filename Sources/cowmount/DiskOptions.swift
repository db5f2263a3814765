// The options that say how a disk is mounted, shared by the subcommands that mount one. (What the image is, which part of it
// is shown and what is copied of it are groups of their own beside this one, and not in it: in a debug build the parser
// checks a group some times over for each group that it is in.)

internal import ArgumentParser
internal import CopyOnWrite
internal import DiskIO
internal import MountedDisk
internal import SystemPackage

struct DiskOptions: ParsableArguments {
  @Option(
    name: .customShort("o"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp(
      "Mount options as fuse programs take them (ro, allow_other, …); long options of this command too, without --.",
      valueName: "options"))
  var mountOptions: [String] = []

  @Flag(name: [.customShort("r"), .long], help: "Refuse writes.")
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

  @Flag(name: .shortAndLong, help: "Log more.")
  var verbose = false

  /// Checks what the options are, one by one and together.
  func validate() throws {
    guard Geometry(blockSize: Int(blockSize.bytes)) != nil else {
      throw ValidationError("--block-size \(blockSize) must be a power of two from 4k to 2M")
    }
    if MountOptions(mountOptions).isRemount {
      throw ValidationError("-o remount is not supported: unmount it, and mount it again with the new options")
    }
    if let option = Habits.misspelt(MountOptions(mountOptions)) {
      throw ValidationError("Unknown option '\(option.given)' in -o. Did you mean '\(option.meant)'?")
    }
    if let maxOverlay, maxOverlay.bytes < blockSize.bytes {
      throw ValidationError(
        "--max-overlay \(maxOverlay) is less than one block (--block-size \(blockSize)): nothing could be written")
    }
    if memory, overlayDir != nil {
      throw ValidationError("--memory and --overlay-dir exclude each other: what is written goes to one place")
    }
    if let threads, !(2...256).contains(threads) {
      throw ValidationError("--threads \(threads) must be from 2 to 256")
    }
    if let name, !FilePath.isFileName(name.carriedBytes) {
      throw ValidationError("--name '\(name)' must be a file name: no slash, not . or .., 1 to 255 bytes")
    }
  }

  /// What the options come to.
  ///
  /// - Parameters:
  ///   - image: a path or a URI, as the user wrote it.
  ///   - options: what it is.
  ///   - window: which part of it is shown.
  ///   - copy: what is copied of it.
  func settings(
    _ image: String, _ options: SourceOptions, _ window: WindowOptions, _ copy: CopyOptions
  ) throws -> MountSettings {
    guard let geometry = Geometry(blockSize: Int(blockSize.bytes)) else { preconditionFailure("validate() checks it") }
    try options.check(image)
    var source = options.settings(image)
    source.sharesWithWriters = forceShare
    source.avoidsCache = baseCache == .none
    var settings = MountSettings(source, geometry: geometry)
    settings.window = window.settings
    settings.name = name
    settings.overlay = memory ? .memory : .directory(overlayDir.map { FilePath(carriedBy: $0) })
    settings.maxOverlay = maxOverlay?.bytes
    settings.detectsZeroes = detectZeroes == .on
    settings.copies = copy.settings
    settings.isReadOnly = readOnly
    settings.threads = threads
    settings.fuseOptions = { [mountOptions, readOnly] in
      MountOptions(mountOptions).forFuse(image: $0, readOnly: readOnly)
    }
    settings.isVerbose = verbose
    return settings
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
