// The base: opened once, read-only, and never changed. (That its content and time stay is checked after every mount.)

import Glibc
import Testing

// UTIME_OMIT, which is not in the Glibc module.
private let utimeOmit = (1 << 30) - 2

extension Mounted {
  @Suite struct Base {
    @Test func openedOnceReadOnly() async throws {
      let image = try sandbox.image(size: 200_000)
      let mount = try await sandbox.mount(image)
      let file = try mount.open()
      try file.write([1], at: 5)
      try file.sync()
      let descriptors = try mount.daemon.server.descriptors().filter { $0.target == image.path }
      #expect(descriptors.count == 1)
      for descriptor in descriptors {
        #expect(try mount.daemon.server.flags(of: descriptor.number) & Int(O_ACCMODE) == Int(O_RDONLY))
      }
      let writableMaps = try readText("/proc/\(mount.daemon.server.pid)/maps").split(separator: "\n").filter {
        $0.hasSuffix(image.path) && $0.split(separator: " ")[1].contains("w")
      }
      #expect(writableMaps == [])
    }

    @Test func accessTimeIsKept() async throws {
      let image = try sandbox.image(size: 200_000)
      let mount = try await sandbox.mount(image)
      // The test's own look at the base moved it.
      var times = [timespec(tv_sec: 900_000_000, tv_nsec: 7), timespec(tv_sec: 0, tv_nsec: utimeOmit)]
      try TestFile.check(utimensat(AT_FDCWD, image.path, &times, 0))
      try expectBase(mount.open(), 0..<200_000)
      #expect(try status(image.path).st_atim.tv_sec == 900_000_000)
    }

    @Test func everyVerb() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20, mode: 0o644))
      let file = try mount.open()
      try file.write(Pattern(seed: 91).bytes(1 << 20), at: 0)
      try file.sync()
      try file.allocate(.punchHole, 0..<100_000)
      try file.allocate(.zeroRange, 200_000..<300_000)
      try file.resize(1000)
      try file.resize(2 << 20)
      try file.allocate([], 0..<3 << 20)
      chmod(mount.file, 0o777)
      file.close()
      try await mount.unmount()
      try expectBase(TestFile(mount.image.path, O_RDONLY), 0..<1 << 20)
    }

    /// What serves the mount could not write to the base if it wanted.
    @Test func descriptorIsReadOnly() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20, mode: 0o644))
      try mount.open().write(Pattern().bytes(1000), at: 0)
      let bases = try mount.daemon.server.descriptors().filter { $0.target == mount.image.path }
      #expect(bases.count == 1, "\(bases)")
      for base in bases {
        #expect(try mount.daemon.server.flags(of: base.number) & Int(O_ACCMODE) == Int(O_RDONLY))
      }
    }

    @Test func unnamedOverlay() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      try mount.open().write(Pattern().bytes(1 << 20), at: 0)
      #expect(try entries(mount.overlays) == [])
      // One that nobody else can open, not even through /proc without being allowed to.
      let overlays = try mount.daemon.server.descriptors().filter { $0.target.hasPrefix(mount.overlays) }
      #expect(overlays.count == 1)
      var shown = stat()
      for overlay in overlays {
        try TestFile.check(stat("/proc/\(mount.daemon.server.pid)/fd/\(overlay.number)", &shown))
        #expect(shown.st_nlink == 0)
        #expect(shown.st_mode & 0o777 == 0o600)
      }
    }
  }
}
