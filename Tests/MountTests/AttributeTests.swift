// stat, statfs, fsync, and the attributes that are kept for the life of a mount.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct Attributes {
    @Test(.needs(.root), arguments: [0o444, 0o400, 0o640] as [mode_t])
    func modeAndOwnerOfTheBase(mode: mode_t) async throws {
      let image = try sandbox.image(size: 4096, mode: mode)
      chown(image.path, 1234, 5678)
      let mount = try await sandbox.mount(image)
      let shown = try status(mount.file)
      #expect(shown.st_mode == S_IFREG | mode | 0o200)
      #expect(shown.st_uid == 1234)
      #expect(shown.st_gid == 5678)
      #expect(shown.st_nlink == 1)
      let options = try #require(try MountEntry.at(mount.place)).superOptions
      #expect(options.contains("allow_other"))
      #expect(options.contains("default_permissions"))
    }

    @Test(.needs(.root), arguments: [0o600, 0o640, 0o604] as [mode_t])
    func nobodyGainsAccess(mode: mode_t) async throws {
      let image = try sandbox.image(size: 4096, mode: mode)
      let mount = try await sandbox.mount(image)
      for path in [image.path, mount.file] {
        let reader = try await attempt("setpriv", nobody + ["head", "-c1", path])
        #expect(reader.succeeded == (mode & 0o004 != 0), "\(reader)")
      }
      let writer = try await attempt("setpriv", nobody + ["truncate", "-s1", mount.file])
      #expect(!writer.succeeded)
    }

    @Test func changesAreKept() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4096))
      let file = try mount.open()
      try TestFile.check(chmod(mount.file, 0o611))
      if Host.isRoot { try TestFile.check(chown(mount.file, 77, 88)) }
      var times = [timespec(tv_sec: 1000, tv_nsec: 5), timespec(tv_sec: 1_234_567_890, tv_nsec: 123_456_789)]
      try TestFile.check(futimens(file.descriptor, &times))
      for shown in [try status(mount.file), try mount.open(O_RDONLY).status()] {
        #expect(shown.st_mode & 0o7777 == 0o611)
        if Host.isRoot { #expect(shown.st_uid == 77 && shown.st_gid == 88) }
        #expect(shown.st_atim.tv_sec == 1000)
        #expect(shown.st_mtim.tv_sec == 1_234_567_890 && shown.st_mtim.tv_nsec == 123_456_789)
      }
      try file.write([1], at: 0)
      try file.sync()
      #expect(try status(mount.file).st_mtim.tv_sec > 1_234_567_890, "a write moves the time")
    }

    @Test(.needs(.root), arguments: [0o4755, 0o2755, 0o1777, 0o7000] as [mode_t])
    func bitsThatAreNoPermissions(mode: mode_t) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4096))
      try TestFile.check(chmod(mount.file, mode))
      #expect(try status(mount.file).st_mode == S_IFREG | mode)
      #expect(try mount.open(O_RDONLY).status().st_mode == S_IFREG | mode)
    }

    /// What is written into a hole takes space, and what is discarded none.
    @Test func blocksOfWhatIsWritten() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4 << 20, data: []))
      let before = try status(mount.file).st_blocks
      // The kernel asks again when a file is closed.
      let file = try mount.open()
      try file.write(Pattern().bytes(1 << 20), at: 1 << 20)
      file.close()
      #expect(try status(mount.file).st_blocks == before + 2048)
      #expect(try await run("du", "-k", mount.file).hasPrefix("\((before + 2048) / 2)\t"))
      let other = try mount.open()
      try other.allocate(.punchHole, 1 << 20..<1 << 20 + 8192)
      other.close()
      #expect(try status(mount.file).st_blocks == before + 2032)
    }

    @Test func blocksNeverUnderstateData() async throws {
      let tiny = try await sandbox.mount(sandbox.image(size: 1))
      #expect(try status(tiny.file).st_blocks > 0)
      let hole = try await sandbox.mount(sandbox.image("hole", size: 1 << 20, data: []))
      let file = try hole.open()
      try file.write([1], at: 5000)
      #expect(try file.status().st_blocks > 0, "not yet written back")
      try file.sync()
      #expect(try file.status().st_blocks >= 8)
      let full = try await sandbox.mount(sandbox.image("full", size: 1 << 20))
      #expect(try status(full.file).st_blocks >= 2048)
    }

    @Test func syncReturnsAtOnce() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      let file = try mount.open()
      let clock = ContinuousClock()
      let time = try clock.measure {
        for turn in 0..<200 {
          try file.write([UInt8(turn)], at: turn * 5000)
          try file.sync()
          try TestFile.check(fdatasync(file.descriptor))
        }
      }
      // A disk that really syncs takes milliseconds each.
      #expect(time < .seconds(2))
    }

    /// The total is the disk, used is what the overlay holds.
    @Test func fileSystemSizes() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 32 << 20))
      let fresh = try space(of: mount)
      #expect(fresh.total == 32 << 20)
      #expect(fresh.free == 32 << 20)
      #expect(fresh.available <= fresh.free, "the disk takes no more, however much the overlay's file system has")
      let file = try mount.open()
      try file.write(Pattern().bytes(4 << 20), at: 1 << 20)
      try file.sync()
      #expect(try space(of: mount).free == 28 << 20)
      try file.allocate(.punchHole, 1 << 20..<5 << 20)
      #expect(try space(of: mount).free == 32 << 20)
      try await run("df", mount.file)
    }

    /// No more is available than the overlay's file system has.
    @Test(.needs(.root))
    func spaceThatIsLeft() async throws {
      let small = try await sandbox.smallFileSystem("tmpfs", size: "8M")
      let mount = try await sandbox.mount(sandbox.image(size: 32 << 20), overlays: small)
      #expect(try 7 << 20...8 << 20 ~= space(of: mount).available)
      let file = try mount.open()
      try file.write(Pattern().bytes(4 << 20), at: 0)
      try file.sync()
      #expect(try 3 << 20...4 << 20 ~= space(of: mount).available)
    }

    private func space(of mount: Mount) throws -> (total: UInt, free: UInt, available: UInt) {
      var shown = statvfs()
      try TestFile.check(statvfs(mount.file, &shown))
      let unit = UInt(shown.f_frsize)
      return (shown.f_blocks * unit, shown.f_bfree * unit, shown.f_bavail * unit)
    }
  }
}

/// Arguments of setpriv for somebody with no rights of their own.
let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"]
