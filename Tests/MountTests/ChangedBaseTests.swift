// An image that changes under the mount, though it must not: that is told, and what it has lost is an error and not zeros.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct ChangedBase {
    /// A mount in the foreground that logs to a file.
    private struct Logging {
      let file: String
      let log: String

      init(_ image: Image) async throws {
        let (place, overlays) = try (sandbox.directory("mnt"), sandbox.directory("overlay"))
        let log = try sandbox.directory("log") + "/log"
        let arguments = ["-euc", #"exec "$@" 2>"$0""#, log, Host.cowmount, "--foreground", "--overlay-dir", overlays]
        let running = Task { try await attempt("sh", arguments + [image.path, place], limit: .seconds(60)) }
        #expect(try await eventually { try MountEntry.at(place)?.type == "fuse.cowmount" })
        file = place + "/disk.img"
        self.log = log
        sandbox.atEnd {
          try await run("fusermount3", "-u", place)
          let result = try await running.value
          #expect(result.succeeded, "\(result)")
        }
      }

      /// Whether a line with these words comes, while somebody reads.
      func tells(_ words: String) async throws -> Bool {
        try await eventually(within: .seconds(20), every: .milliseconds(100)) {
          _ = try? TestFile(file, O_RDONLY | O_DIRECT).read(4096, at: 0)
          return try readText(log).contains(words)
        }
      }
    }

    @Test(arguments: ["echo x >>\"$1\"", "touch -d 2001-01-01 \"$1\"", "chmod 0600 \"$1\""])
    func isTold(change: String) async throws {
      let image = try sandbox.image(size: 1 << 20, mode: 0o644)
      let mount = try await Logging(image)
      try await shell(change, image.path)
      #expect(try await mount.tells("the image \(image.path) changed under the mount"))
      let lines = try readText(mount.log).split(separator: "\n")
      #expect(lines.count == 1, "\(lines)")
    }

    /// The process that looks has the virtual disk's own file open, and no other in its place.
    @Test(.needs(.program("qemu-img"))) func aVirtualDiskIsToldOf() async throws {
      let disk = try sandbox.directory("image") + "/disk.qcow2"
      try await run("qemu-img", "create", "-q", "-f", "qcow2", disk, "1M")
      let mount = try await Logging(Image(existing: disk))
      try await shell(#"touch -d 2001-01-01 "$1""#, disk)
      #expect(try await mount.tells("the image \(disk) changed under the mount (it was written to)"))
      #expect(try readText(mount.log).split(separator: "\n").count == 1)
    }

    /// Nobody looks while nobody uses the mount, and again when somebody does.
    @Test func isToldAfterAPause() async throws {
      let image = try sandbox.image(size: 1 << 20, mode: 0o644)
      let mount = try await Logging(image)
      // Once it has come to its rest, a request is noticed.
      for _ in 0..<10 {
        try expectBase(TestFile(mount.file, O_RDONLY | O_DIRECT), 0..<4096)
        try await Task.sleep(for: .milliseconds(100))
      }
      // Longer than from one look to the next.
      try await Task.sleep(for: .seconds(6))
      try await shell(#"echo x >>"$1""#, image.path)
      #expect(try await mount.tells("the image \(image.path) changed under the mount"))
    }

    @Test func whatItHasLostIsAnError() async throws {
      let image = try sandbox.image(size: 1 << 20, mode: 0o644)
      let mount = try await Logging(image)
      truncate(image.path, 600_000)
      let file = try TestFile(mount.file, O_RDWR | O_DIRECT)
      try expectBase(file, 0..<500_000)
      #expect(throws: Errno.ioError) { try file.read(4096, at: 700_416) }
      #expect(throws: Errno.ioError) { try TestFile(mount.file).read(1, at: 1_000_000) }
      // Neither is completed with zeros.
      #expect(throws: Errno.ioError) { try file.write([1, 2, 3], at: 700_000) }
      let whole = Pattern(seed: 402).bytes(8192)
      try file.write(whole, at: 704_512)
      try expect(file, at: 704_512, holds: whole)
      #expect(try await mount.tells("its size was 1048576 bytes and is 600000"))
    }
  }
}
