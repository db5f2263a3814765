// Options that work: --read-only, -o, sizes, --threads, --overlay-dir and its default, --help and --version.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct Options {
    @Test(arguments: [["--read-only"], ["-o", "ro"], ["-oro"], ["-o", "noatime,ro"]])
    func readOnly(options: [String]) async throws {
      let image = try sandbox.image(size: 5000)
      let place = try sandbox.directory("mnt")
      let overlays = try sandbox.directory("overlay")
      let result = try await attempt(Host.cowmount, options + ["--overlay-dir", overlays, image.path, place])
      #expect(result.succeeded, "\(result)")
      let file = place + "/disk.img"
      try expectBase(TestFile(file, O_RDONLY), 0..<5000)
      #expect(throws: Errno.readOnlyFileSystem) { try TestFile(file, O_RDWR) }
      #expect(throws: Errno.readOnlyFileSystem) { try TestFile(file, O_RDONLY | O_TRUNC) }
      #expect(throws: Errno.readOnlyFileSystem) { try TestFile.check(truncate(file, 0)) }
      #expect(throws: Errno.readOnlyFileSystem) { try TestFile.check(chmod(file, 0o777)) }
      #expect(throws: Errno.readOnlyFileSystem) { try TestFile.check(unlink(file)) }
      #expect(try #require(try MountEntry.at(place)).options.contains("ro"))
      try await run("fusermount3", "-u", place)
    }

    /// The kernel shows what the image is, not what it makes up for a mount's root.
    @Test func readOnlyOverAFile() async throws {
      let image = try sandbox.image(size: 130_000, mode: 0o644)
      let place = try sandbox.image("target", size: 17, mode: 0o644).path
      let mount = try await sandbox.mount(image, "--read-only", at: place)
      let (shown, base) = (try status(place), try status(image.path))
      #expect(shown.st_size == 130_000)
      #expect(shown.st_mtim.tv_sec != 0)
      try await mount.unmount()
      #expect(try status(image.path).st_mtim.tv_sec == base.st_mtim.tv_sec)
    }

    @Test(arguments: ["4096", "4k", "4K", "64k", "1M", "2m", "2048k"])
    func blockSizes(text: String) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 100_000), "--block-size", text)
      try mount.open().write([1], at: 50_000)
      try expectBase(mount.open(), 50_001..<100_000)
    }

    @Test func blockSizeIsTheUnitOfCopying() async throws {
      let image = try sandbox.image(size: 8 << 20)
      var spaces: [Int] = []
      for text in ["4k", "2M"] {
        let mount = try await sandbox.mount(image, "--block-size", text)
        let file = try mount.open(O_RDWR | O_DIRECT)
        try file.write(Pattern().bytes(4096), at: 4 << 20)
        spaces.append(try mount.overlaySpace())
      }
      #expect(spaces[0] < 256 << 10)
      #expect(spaces[1] >= 2 << 20)
    }

    @Test func threads() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 100_000), "--threads", "2")
      try expectBase(mount.open(), 0..<100_000)
      try mount.open().write([1], at: 50_000)
    }

    @Test(arguments: ["/var/tmp", nil])
    func overlayDirectoryByDefault(expected: String?) async throws {
      let image = try sandbox.image(size: 5000)
      let place = try sandbox.directory("mnt")
      let temporary = try sandbox.directory("tmpdir")
      // An empty TMPDIR is none.
      let result = try await attempt(
        Host.cowmount, [image.path, place], variables: ["TMPDIR": expected == nil ? temporary : ""])
      #expect(result.succeeded, "\(result)")
      let daemon = try #require(Daemon.find(mentioning: place).first)
      let directory = expected ?? temporary
      #expect(try daemon.server.descriptors().contains { $0.target.hasPrefix(directory + "/") })
      try await run("fusermount3", "-u", place)
    }

    @Test func mountSubcommand() async throws {
      let image = try sandbox.image(size: 5000)
      let place = try sandbox.directory("mnt")
      let overlays = try sandbox.directory("overlay")
      let result = try await attempt(Host.cowmount, ["mount", "--overlay-dir", overlays, image.path, place])
      #expect(result.succeeded && result.output.isEmpty && result.errors.isEmpty, "\(result)")
      try expectBase(TestFile(place + "/disk.img"), 0..<5000)
      try await run("fusermount3", "-u", place)
    }

    @Test func verbose() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 5000), "--verbose", staying: true)
      let result = try #require(try await mount.end(with: SIGTERM))
      #expect(!result.errors.isEmpty && result.errorLines.allSatisfy { $0.hasPrefix("cowmount") }, "\(result)")
    }

    @Test func help() async throws {
      for options in [["--help"], ["-h"], ["mount", "--help"]] {
        let result = try await attempt(Host.cowmount, options)
        #expect(result.succeeded && result.errors.isEmpty, "\(result)")
        let words = [
          "--foreground", "--read-only", "--block-size", "--overlay-dir", "--threads", "--name", "--nonempty",
          "--version", "--verbose", "--help",
        ]
        for word in words { #expect(result.output.contains(word), "\(options) does not tell of \(word)") }
      }
      let version = try await attempt(Host.cowmount, ["--version"])
      #expect(version.succeeded && version.output.contains("."), "\(version)")
    }
  }
}
