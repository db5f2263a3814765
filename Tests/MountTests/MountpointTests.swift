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
