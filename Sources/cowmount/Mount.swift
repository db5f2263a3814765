// cowmount mount: where a disk is mounted, and who is told. What is done is in MountedDisk.

internal import ArgumentParser
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

  @Flag(name: .long, help: "Mount over a directory that is not empty, or over another mount.")
  var nonempty = false

  @Option(
    name: .long,
    help: ArgumentHelp("Write the process id there as soon as the file can be used.", valueName: "path"))
  var pidFile: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Write a newline to this open descriptor, and close it, as soon as the file can be used.", valueName: "n"))
  var readyFd: Int32?

  @OptionGroup
  var disk: DiskOptions

  @OptionGroup(title: "Slow images")
  var copy: CopyOptions

  @OptionGroup(title: "Formats")
  var source: SourceOptions

  @OptionGroup(title: "Parts of an image")
  var window: WindowOptions

  mutating func validate() throws {
    if let readyFd, readyFd != 1, readyFd < 3 {
      throw ValidationError("--ready-fd \(readyFd) must be 1, or 3 or more: errors are told on standard error")
    }
  }

  func run() throws {
    var place = PlaceSettings(FilePath(carriedBy: mountpoint))
    place.allowsNonEmpty = nonempty
    place.staysInForeground = foreground
    place.pidFile = pidFile.map { FilePath(carriedBy: $0) }
    place.readyDescriptor = readyFd
    try MountedDisk.run(disk.settings(image, source, window, copy), at: place)
  }
}
