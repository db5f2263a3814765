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
    #expect(plain.blockSize.bytes == 4096)
  }

  @Test(arguments: ["4k", "4096", "8K", "64k", "1M", "2m", "2097152"])
  func blockSizes(_ size: String) throws {
    #expect(try parse("--block-size", size, "disk.img", "/mnt").blockSize == ByteSize(argument: size))
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
    ["--frobnicate"], ["-o"], ["-o", "block-size=3000"], ["-o", "threads=two"], ["-o", "name=a/b"],
  ])
  func refusedOptions(_ options: [String]) {
    #expect(status(of: options + ["disk.img", "/mnt"]) == Self.usage)
  }

  @Test(arguments: [[], ["disk.img"], ["disk.img", "/mnt", "more"]])
  func refusedArguments(_ arguments: [String]) {
    #expect(status(of: arguments) == Self.usage)
  }

  @Test(arguments: [["--help"], ["-h"], ["--version"], ["mount", "--help"]])
  func answers(_ arguments: [String]) {
    #expect(status(of: arguments) == 0)
  }
}
