// The command line of a mount: what is refused before anything is done, and with which status.

import Testing

@testable import cowmount

@Suite struct MountArgumentsTests {
  private static let usage: Int32 = 64

  @Test func mountIsTheDefault() throws {
    let plain = try parse("disk.img", "/mnt")
    let named = try parse("mount", "disk.img", "/mnt")
    #expect(plain.image == "disk.img" && plain.mountpoint == "/mnt")
    #expect(named.image == "disk.img" && named.mountpoint == "/mnt")
    #expect(plain.disk.blockSize.bytes == 4096)
  }

  @Test(arguments: ["4k", "4096", "8K", "64k", "1M", "2m", "2097152"])
  func blockSizes(_ size: String) throws {
    #expect(try parse("--block-size", size, "disk.img", "/mnt").disk.blockSize == ByteSize(argument: size))
  }

  @Test(arguments: [
    ["--block-size", "3000"], ["--block-size", "2k"], ["--block-size", "0"], ["--block-size", "4M"],
    ["--block-size", "12k"], ["--block-size", "many"], ["--block-size"],
    ["--threads", "1"], ["--threads", "0"], ["--threads", "257"], ["--threads", "-4"],
    ["--name", ""], ["--name", "."], ["--name", ".."], ["--name", "a/b"],
    ["--name", String(repeating: "n", count: 256)],
    ["--max-overlay", "-1"], ["--detect-zeroes", "perhaps"], ["--base-cache", "some"],
    ["--memory", "--overlay-dir", "/tmp"],
    ["--cow-on-read", "--cow-on-read-while", "/tmp/slow"],
    ["--ready-fd", "-1"], ["--ready-fd", "0"], ["--ready-fd", "2"], ["--ready-fd", "out"], ["--pid-file"],
    ["--frobnicate"], ["-o"], ["-o", "block-size=3000"], ["-o", "threads=two"], ["-o", "name=a/b"],
  ])
  func refusedOptions(_ options: [String]) {
    #expect(status(of: options + ["disk.img", "/mnt"]) == Self.usage)
  }

  @Test(arguments: [[], ["disk.img"], ["disk.img", "/mnt", "more"]])
  func refusedArguments(_ arguments: [String]) {
    #expect(status(of: arguments) == Self.usage)
  }

  @Test func execTakesACommand() throws {
    let exec = try #require(
      try Cowmount.command(from: ["exec", "--size", "1G", "disk.img", "-o", "ro", "--", "fsck", "-o", "--", "{}"])
        as? Exec)
    #expect(exec.image == "disk.img" && exec.command == ["fsck", "-o", "--", "{}"])
    #expect(exec.window.size?.bytes == 1 << 30 && exec.disk.readOnly)
  }

  /// The server is what is between the first bracket and the one in front of the two dashes; others are words like any.
  @Test func execTakesAServer() throws {
    let arguments = ["exec", "--memory", "[", "nbdkit", "--", "]", "null", "]", "--", "[", "-f", "{}", "]", "--", "]"]
    let exec = try #require(try Cowmount.command(from: arguments) as? Exec)
    #expect(exec.source.command == ["nbdkit", "--", "]", "null"])
    #expect(exec.command == ["[", "-f", "{}", "]", "--", "]"] && exec.disk.memory)
    let plain = try #require(try Cowmount.command(from: ["exec", "disk.img", "--", "[", "-f", "{}", "]"]) as? Exec)
    #expect(plain.image == "disk.img" && plain.source.command.isEmpty && plain.command == ["[", "-f", "{}", "]"])
  }

  @Test(arguments: [
    [], ["disk.img"], ["--", "true"], ["disk.img", "true"], ["disk.img", "--"], ["disk.img", "--", ""],
    ["disk.img", "/mnt", "--", "true"], ["--foreground", "disk.img", "--", "true"],
    ["--nonempty", "disk.img", "--", "true"], ["--pid-file", "x", "disk.img", "--", "true"],
    ["--block-size", "3000", "disk.img", "--", "true"], ["[", "nbdkit", "null", "]"], ["[", "]", "--", "true"],
    ["[", "nbdkit", "null", "--", "true"], ["disk.img", "[", "nbdkit", "null", "]", "--", "true"],
  ])
  func refusedByExec(_ arguments: [String]) {
    #expect(status(of: ["exec"] + arguments) == Self.usage)
  }

  /// A subcommand's name that is an image's is written with its directory.
  @Test(arguments: ["exec", "mount", "partitions"])
  func namesOfSubcommands(name: String) throws {
    #expect(try parse("./" + name, "/mnt").image == "./" + name)
    #expect(try parse("mount", name, "/mnt").image == name)
  }

  @Test(arguments: [["exec", "--help"], ["--help"], ["-h"], ["--version"], ["mount", "--help"]])
  func answers(_ arguments: [String]) {
    #expect(status(of: arguments) == 0)
  }
}
