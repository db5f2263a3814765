// cowmount mount: the options, and what they may be. What is done with them is in MountedDisk.

internal import ArgumentParser
internal import CopyOnWrite
internal import DiskIO
internal import MountedDisk
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
    if let name, !Self.isFileName(name) {
      throw ValidationError("--name '\(name)' must be a file name: no slash, not . or .., 1 to 255 bytes")
    }
  }

  private static func isFileName(_ name: String) -> Bool {
    // In bytes: a slash with an accent behind it is a slash to the kernel.
    !name.utf8.contains(UInt8(ascii: "/")) && name != "." && name != ".." && (1...255).contains(name.carriedBytes.count)
  }

  func run() throws {
    try source.check(image)
    try MountedDisk.run(settings)
  }

  /// What the options come to.
  private var settings: MountSettings {
    guard let geometry = Geometry(blockSize: Int(blockSize.bytes)) else { preconditionFailure("validate() checks it") }
    var source = source.settings(image)
    source.sharesWithWriters = forceShare
    source.avoidsCache = baseCache == .none
    var settings = MountSettings(source, at: FilePath(carriedBy: mountpoint), geometry: geometry)
    settings.window = window.settings
    settings.name = name
    settings.overlay = memory ? .memory : .directory(overlayDir.map { FilePath(carriedBy: $0) })
    settings.maxOverlay = maxOverlay?.bytes
    settings.detectsZeroes = detectZeroes == .on
    settings.copies = copy.settings
    settings.isReadOnly = readOnly
    settings.allowsNonEmpty = nonempty
    settings.threads = threads
    settings.fuseOptions = { [mountOptions, readOnly] in
      MountOptions(mountOptions).forFuse(image: $0, readOnly: readOnly)
    }
    settings.staysInForeground = foreground
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
