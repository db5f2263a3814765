// A dead mount is known as one whatever the kernel still has of it in its caches and however it is named, and the next
// cowmount clears it.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct DeadMount {
    /// Each puts something else into the kernel's caches.
    @Test(
      arguments: [
        ":", #"stat "$1""#, #"ls -la "$1""#, #"stat "$2""#, #"head -c 100 "$2""#, #"echo x | dd of="$2" conv=notrunc"#,
      ], [false, true])
    func clearedWhateverWasCached(use: String, throughLink: Bool) async throws {
      let image = try sandbox.image(size: 130_000)
      let dead = try await sandbox.mount(image)
      try await shell(use, dead.place, dead.file)
      try await dead.murder()
      var place = dead.place
      if throughLink {
        place = try sandbox.directory("links") + "/link"
        symlink(dead.place, place)
      }
      let result = try await attempt(
        Host.cowmount, ["--overlay-dir", try sandbox.directory("overlay"), image.path, place])
      #expect(result.succeeded, "\(result)")
      #expect(result.errors.contains("cleared the dead mount"), "\(result)")
      guard result.succeeded else { return }
      try expectBase(TestFile(dead.file), 0..<130_000)
      #expect(try MountEntry.all().filter { $0.mountpoint == dead.place }.count == 1)
      try await run(Host.isRoot ? "umount" : "fusermount3", Host.isRoot ? "--" : "-u", dead.place)
    }

    /// Whoever has the file open is told, and does not hang: calls fail, and what is mapped faults.
    @Test(arguments: [false, true])
    func whoHasItOpenGetsErrors(dirty: Bool) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 32 << 20))
      // What the kernel has read ahead, it goes on showing; the end of the file is far enough.
      let (file, direct) = (try mount.open(), try mount.open(O_RDWR | O_DIRECT))
      let mapping = try Mapping(file, count: 32 << 20, flags: MAP_SHARED)
      #expect(try mapping.read(1, at: 0) == file.read(1, at: 0))
      if dirty { try mapping.write([1, 2, 3], at: 8192) }
      try await mount.murder()
      #expect(throws: Errno.self) { try direct.read(4096, at: 0) }
      #expect(throws: Errno.self) { try direct.write(Pattern().bytes(4096), at: 0) }
      #expect(throws: Errno.self) { try file.read(4096, at: 30 << 20) }
      #expect(throws: Errno.self) { try file.resize(5) }
      #expect(throws: Errno.self) { try file.allocate(.punchHole, 0..<4096) }
      #expect(throws: Errno.ioError) { try mapping.read(1, at: 30 << 20) }
      #expect(throws: Errno.self) { try mount.open() }
      if dirty { #expect(throws: Errno.self) { try file.sync() } }
    }

    /// What another program left is that one's to clear.
    @Test func anotherProgramsStays() async throws {
      let image = try sandbox.image(size: 4096)
      let dead = try await sandbox.mount(image, "-o", "subtype=other")
      try await dead.murder()
      let result = try await attempt(Host.cowmount, [image.path, dead.place])
      expectOneLine(result, naming: [dead.place, "cannot be cleared"], status: 1)
      #expect(try MountEntry.at(dead.place)?.type == "fuse.other")
    }

    /// A live one is not taken for dead.
    @Test func aLiveOneStays() async throws {
      let image = try sandbox.image(size: 130_000)
      let live = try await sandbox.mount(image)
      try live.open().write([1], at: 5)
      let result = try await attempt(Host.cowmount, [image.path, live.place])
      expectOneLine(result, naming: [live.place, "in use"])
      try expect(live.open(), at: 5, holds: [1])
    }
  }
}
