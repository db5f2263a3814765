// What is told of a command line that is wrong, word by word: the thing, the reason, the way out. What is told of images and
// machines is in MountTests/MessageTests.swift.

import ArgumentParser
import Testing

@testable import cowmount

@Suite struct CommandMessageTests {
  /// The command for it, as soon as there is one.
  private static let wayToUnmount =
    Cowmount.configuration.subcommands.contains { $0._commandName == "unmount" }
    ? "a mount is taken away with: cowmount unmount MOUNTPOINT"
    : "a mount is taken away with: umount MOUNTPOINT (without root: fusermount3 -u MOUNTPOINT)"

  /// Command lines as people type them, in words, and what they read.
  private static let table: [(String, String)] = [
    // From habit.
    ("umount /mnt", "there is no image 'umount'; \(wayToUnmount)"),
    ("-u /mnt", "-u is no option of cowmount; \(wayToUnmount)"),
    ("-V", "Unknown option '-V'. Did you mean '--version'?"),
    ("partition disk.img", "there is no image 'partition'. Did you mean 'cowmount partitions'?"),
    // Nearly right, with and without dashes.
    ("--blocksize 64k a.img /mnt", "Unknown option '--blocksize'. Did you mean '--block-size'?"),
    ("-o blocksize=64k a.img /mnt", "Unknown option 'blocksize' in -o. Did you mean 'block-size'?"),
    ("-o ro,read_only a.img /mnt", "Unknown option 'read_only' in -o. Did you mean 'read-only'?"),
    // Values.
    (
      "--block-size 64KB a.img /mnt",
      "The value '64KB' is invalid for '--block-size <size>': a size is written as 65536, 64k or 64KiB"
    ),
    (
      "--format foo a.img /mnt",
      """
      The value 'foo' is invalid for '--format <format>': give raw, xz, zstd, gzip, qcow2, vmdk, vhdx, vdi or vpc
      """
    ),
    (
      "--detect-zeroes yes a.img /mnt",
      "The value 'yes' is invalid for '--detect-zeroes <on|off>': give on or off"
    ),
    (
      "--max-overlay 1k a.img /mnt",
      "--max-overlay 1k is less than one block (--block-size 4k): nothing could be written"
    ),
    (
      "--max-overlay 32k --block-size 64KiB a.img /mnt",
      "--max-overlay 32k is less than one block (--block-size 64k): nothing could be written"
    ),
    ("-o remount,ro a.img /mnt", "-o remount is not supported: unmount it, and mount it again with the new options"),
  ]

  @Test(arguments: table)
  func words(_ line: String, _ expected: String) {
    let arguments = line.split(separator: " ").map(String.init)
    #expect(complaint(about: arguments) == expected)
    #expect(status(of: arguments) == 64)
  }

  @Test func commandsAreNotMistakes() {
    for command in Cowmount.configuration.subcommands.map({ $0._commandName }) + ["help"] {
      #expect(Habits.complaint(about: [command, "x"]) == nil, "\(command)")
    }
    // An image may have any name.
    #expect(Habits.complaint(about: ["/", "/mnt"]) == nil)
    #expect(Habits.complaint(about: ["disk.img", "/mnt"]) == nil)
  }

  /// fuse(8), mount(8): none of theirs is taken for one of ours.
  @Test(arguments: [
    "allow_other", "allow_root", "auto_unmount", "default_permissions", "fsname", "subtype", "max_read",
    "max_background",
    "rootmode", "user_id", "group_id", "blkdev", "blksize", "rw", "ro", "suid", "nosuid", "dev", "nodev", "exec",
    "noexec",
    "async", "sync", "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime",
    "nostrictatime", "lazytime", "nolazytime", "dirsync", "mand", "nomand", "silent", "loud", "iversion", "noiversion",
    "context", "fscontext", "defcontext", "rootcontext", "clone_fd", "max_idle_threads", "max_threads", "debug",
    "io_uring",
  ])
  func optionsOfOthersAreNotMistakes(option: String) throws {
    #expect(try parse("-o", option, "disk.img", "/mnt").disk.mountOptions.count <= 1)
  }

  @Test(arguments: [
    ("nbd:localhost:10809", "nbd://localhost:10809"), ("nbd:/localhost", "nbd://localhost"),
    ("nbds:host:1/x", "nbds://host:1/x"),
  ])
  func oldNbdNames(image: String, uri: String) {
    let error = #expect(throws: ServerError.self) { try ServerOptions.refuseOtherSchemes(image) }
    #expect(
      error?.description
        == """
        \(image): there is no such image; an NBD server's export is written as a URI: \(uri), with /NAME where it has one
        """)
  }

  @Test func shortNameOfReadOnly() throws {
    #expect(try parse("-r", "disk.img", "/mnt").disk.readOnly)
  }
}
