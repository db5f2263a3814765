// Where the file appears, and under which name.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct Mountpoints {
    @Test func regularFile() async throws {
      // fusermount3 wants it writable.
      let place = try sandbox.image("target", size: 17, mode: 0o644).path
      let mount = try await sandbox.mount(sandbox.image(size: 130_000), at: place)
      #expect(mount.file == place)
      // Also what the kernel made up before it could ask.
      let (shown, base) = (try status(place), try status(mount.image.path))
      #expect(shown.st_mtim.tv_sec == base.st_mtim.tv_sec && shown.st_mtim.tv_nsec == base.st_mtim.tv_nsec)
      #expect(shown.st_atim.tv_sec == base.st_mtim.tv_sec, "what was last read here, nobody knows")
      let file = try mount.open()
      #expect(try file.size == 130_000)
      try file.write(Pattern(seed: 121).bytes(5000), at: 128_000)
      try file.sync()
      try expectBase(file, 0..<128_000)
      #expect(try file.size == 133_000)
      #expect(throws: Errno.self) { try TestFile.check(unlink(place)) }
      file.close()
      try await mount.unmount()
      try expectBase(TestFile(place, O_RDONLY), 0..<17)
    }

    @Test(arguments: Host.isRoot ? [0o444, 0o644] : [0o644] as [mode_t])
    func ownPath(mode: mode_t) async throws {
      let image = try sandbox.image(size: 130_000, mode: mode)
      let mount = try await sandbox.mount(image, at: image.path)
      let entry = try #require(try MountEntry.at(image.path))
      #expect(entry.type == "fuse.cowmount")
      #expect(entry.source == image.path)
      let file = try TestFile(image.path)
      #expect(try file.size == 130_000)
      let new = Pattern(seed: 122).bytes(8192)
      try file.write(new, at: 100)
      try file.sync()
      try expect(TestFile(image.path, O_RDONLY | O_DIRECT), at: 100, holds: new)
      try expectBase(file, 8292..<130_000)
      file.close()
      try await mount.unmount()
      try expectBase(TestFile(image.path, O_RDONLY), 0..<130_000)
    }

    /// Who may look into the directory may look into the mount.
    @Test(.needs(.root)) func directory() async throws {
      let place = try sandbox.directory("mnt")
      chown(place, 77, 88)
      chmod(place, 0o751)
      let mount = try await sandbox.mount(sandbox.image(size: 10), at: place)
      let shown = try status(place)
      #expect(shown.st_mode == S_IFDIR | 0o751 && shown.st_uid == 77 && shown.st_gid == 88 && shown.st_nlink == 2)
      try TestFile.check(chmod(place, 0o700))
      #expect(try status(place).st_mode == S_IFDIR | 0o700)
      try await mount.unmount()
      #expect(try status(place).st_mode == S_IFDIR | 0o751)
    }

    /// The kernel reads ahead more than the 128 KiB of any FUSE mount, as far as the server agreed to take, and lets as much
    /// be written before it waits as for a disk.
    @Test(.needs(.root)) func limitsOfTheDevice() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 10))
      let device = "/sys/class/bdi/\(try #require(try MountEntry.at(mount.place)).device)/"
      for (name, value) in [("read_ahead_kb", "1024"), ("strict_limit", "0"), ("max_ratio", "100")] {
        // Some kernels have no strict_limit.
        if access(device + name, F_OK) == 0 { #expect(try readText(device + name) == value + "\n", "\(name)") }
      }
    }

    @Test func nameOption() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 10), "--name", "other name.raw")
      #expect(try entries(mount.place) == ["other name.raw"])
      try expectBase(mount.open(), 0..<10)
    }

    @Test func relativePaths() async throws {
      let parent = try sandbox.directory("parent")
      let image = try Image(parent + "/base.img", size: 5000)
      try TestFile.check(mkdir(parent + "/mnt", 0o755))
      try TestFile.check(mkdir(parent + "/tmp", 0o755))
      let arguments = ["--overlay-dir", "tmp", "base.img", "./mnt/../mnt"]
      let result = try await attempt(Host.cowmount, arguments, in: parent)
      #expect(result.succeeded, "\(result)")
      let entry = try #require(try MountEntry.at(parent + "/mnt"))
      #expect(entry.source == image.path)
      try expectBase(TestFile(parent + "/mnt/base.img"), 0..<5000)
      try await run("fusermount3", "-u", parent + "/mnt")
      // Its arguments were relative: it is known by its overlay and mount, which are gone.
      #expect(try await eventually { try entries(parent + "/tmp") == [] && MountEntry.at(parent + "/mnt") == nil })
    }

    @Test func linkToTheMountpoint() async throws {
      let place = try sandbox.directory("mnt")
      let link = sandbox.path + "/link"
      try TestFile.check(symlink(place, link))
      let overlays = try sandbox.directory("overlay")
      let image = try sandbox.image(size: 10)
      let result = try await attempt(Host.cowmount, ["--overlay-dir", overlays, image.path, link + "/"])
      #expect(result.succeeded, "\(result)")
      #expect(try MountEntry.at(place)?.type == "fuse.cowmount")
      try expectBase(TestFile(place + "/disk.img"), 0..<10)
      try await run("fusermount3", "-u", place)
    }

    @Test func notEmptyButWanted() async throws {
      let place = try sandbox.directory("mnt")
      _ = try Image(place + "/there", size: 3)
      let mount = try await sandbox.mount(sandbox.image(size: 10), "--nonempty", at: place)
      #expect(try entries(place) == ["disk.img"])
      try await mount.unmount()
      #expect(try entries(place) == ["there"])
    }

    /// A signal takes away the mount of the process that got it, and no other.
    @Test(.needs(.root))
    func overAnotherMount() async throws {
      let place = try sandbox.directory("mnt")
      let lower = try await sandbox.mount(sandbox.image("a", size: 10), at: place)
      let upper = try await sandbox.mount(sandbox.image("b", size: 20), "--nonempty", at: place)
      #expect(try entries(place) == ["b"])
      try await upper.end(with: SIGTERM)
      #expect(try entries(place) == ["a"])
      #expect(lower.daemon.isAlive)
      try expectBase(lower.open(), 0..<10)
    }
  }
}
