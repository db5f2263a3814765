// cowmount exec: a throwaway disk for one command. What is done is in MountedDisk.

internal import ArgumentParser
internal import Glibc
internal import MountedDisk

struct Exec: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a command with a writable throwaway copy of a disk image.",
    usage: """
      cowmount exec [<options>] <image> -- <command> ...
      cowmount exec [<options>] [ <server> ... ] -- <command> ...
      """,
    discussion: """
      `cowmount exec disk.img -- qemu-system-x86_64 -drive file={},format=raw` mounts disk.img at a private place and \
      runs the command. {} in its arguments, and $COWMOUNT_FILE, is the path of the writable file. When the command \
      ends, the mount and all that was written are gone. The exit status is the command's.
      """)

  @Argument(help: "The image: a regular file, a block device, or the URI of an NBD server's export. It is only read.")
  var image: String

  @Argument(parsing: .postTerminator, help: "The program, and its arguments.")
  var command: [String] = []

  @OptionGroup
  var disk: DiskOptions

  @OptionGroup(title: "Slow images")
  var copy: CopyOptions

  @OptionGroup(title: "Formats")
  var source: SourceOptions

  @OptionGroup(title: "Parts of an image")
  var window: WindowOptions

  /// The exit status where the command was not run, or lost its disk, as env(1) and timeout(1) have it.
  private static let failure: Int32 = 125

  mutating func validate() throws {
    guard let program = command.first, !program.isEmpty else {
      throw ValidationError("there is no command; write it behind --, as in: cowmount exec disk.img -- fsck -n {}")
    }
  }

  func run() throws {
    let status: CInt
    do {
      status = try MountedDisk.run(disk.settings(image, source, window, copy), command: command)
    } catch {
      Cowmount.end(with: error, failure: Self.failure)
    }
    Glibc.exit(status)
  }
}
