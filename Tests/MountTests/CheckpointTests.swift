// Checkpoints of a mount: made, shown as files, returned to, deleted, while it is used.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite(.needs(.program("jq"))) struct Checkpoints {
    private func refused(_ arguments: String..., naming words: String...) async throws {
      let result = try await attempt(Host.cowmount, arguments)
      #expect(!result.succeeded)
      expectOneLine(result, naming: words)
    }

    @Test func aCheckpointIsAFile() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let mount = try await sandbox.mount(image)
      let file = try mount.open()
      // What the kernel holds back belongs to it.
      try file.write([UInt8](repeating: 7, count: 10_000), at: 5000)
      _ = try await control("checkpoint", mount.place, "prepared")
      try file.write([UInt8](repeating: 8, count: 4096), at: 4096)
      try file.sync()
      let kept = mount.file + "@prepared"
      #expect(try entries(mount.place).sorted() == ["disk.img", "disk.img@prepared"])
      let frozen = try TestFile(kept, O_RDONLY)
      #expect(try frozen.read(10_000, at: 5000) == [UInt8](repeating: 7, count: 10_000))
      #expect(try frozen.read(5000, at: 0) == Image.content.bytes(5000))
      #expect(try file.read(4096, at: 4096) == [UInt8](repeating: 8, count: 4096))
      #expect(throws: Errno.readOnlyFileSystem) { try TestFile(kept, O_RDWR) }
      #expect(truncate(kept, 0) == -1)
      // Tools see holes and size.
      let copy = try sandbox.directory("copy") + "/copy"
      _ = try await run("cp", "--sparse=always", kept, copy)
      _ = try await run("cmp", kept, copy)
      // Deleted, who has it open keeps it.
      #expect(unlink(kept) == 0)
      #expect(try frozen.read(10_000, at: 5000) == [UInt8](repeating: 7, count: 10_000))
      #expect(try entries(mount.place) == ["disk.img"])
      #expect(unlink(mount.file) == -1)
      frozen.close()
      _ = try await control("checkpoint", mount.place, "prepared")
      #expect(try TestFile(kept, O_RDONLY).read(4096, at: 4096) == [UInt8](repeating: 8, count: 4096))
    }

    @Test(arguments: ["directory", "file"]) func resets(kind: String) async throws {
      let image = try sandbox.image(size: 1 << 20)
      let place = try sandbox.directory("mnt")
      if kind == "file" { try TestFile(place + "/file", O_RDWR | O_CREAT).close() }
      let mount = try await sandbox.mount(image, at: kind == "file" ? place + "/file" : place)
      var file = try mount.open()
      try file.write([UInt8](repeating: 1, count: 4096), at: 0)
      file.close()
      _ = try await control("checkpoint", mount.place, "one")
      file = try mount.open()
      try file.write([UInt8](repeating: 2, count: 8192), at: 0)
      try file.resize(2 << 20)
      try file.write([9], at: (2 << 20) - 1)
      file.close()
      _ = try await control("checkpoint", mount.place, "two")
      _ = try await control("reset", "--to", "one", mount.place)
      // The kernel's own size and pages are new, too.
      file = try mount.open()
      #expect(try file.size == 1 << 20)
      #expect(try file.read(8192, at: 0) == [UInt8](repeating: 1, count: 4096) + Image.content.bytes(4096, at: 4096))
      file.close()
      _ = try await control("reset", "--to", "two", mount.place)
      file = try mount.open()
      #expect(try file.size == 2 << 20)
      #expect(try file.read(4096, at: 4096) == [UInt8](repeating: 2, count: 4096))
      file.close()
      _ = try await control("reset", mount.place)
      file = try mount.open()
      #expect(try file.size == 1 << 20)
      try expectBase(file, 0..<1 << 20)
      file.close()
      let json = try await control("status", "--json", mount.place)
      #expect(
        try await member("[.checkpoints[] | [.name, .size, .below]]", of: json) == """
          [["one",1048576,false],["two",2097152,false]]
          """)
      _ = try await control("checkpoint", "--delete", mount.place, "one")
      try await refused("reset", "--to", "one", mount.place, naming: "'one'", "no checkpoint")
    }

    /// Nothing that was written before comes back, although a writer still holds it in the kernel's cache.
    @Test func aForcedResetThrowsAwayWhatTheKernelHolds() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let mount = try await sandbox.mount(image)
      let file = try mount.open()
      try file.write([UInt8](repeating: 1, count: 300_000), at: 0)
      try await refused("reset", mount.place, naming: "in use")
      _ = try await attempt(Host.cowmount, ["reset", "--force", mount.place])
      try expectBase(file, 0..<1 << 20)
      try file.sync()
      try expectBase(file, 0..<1 << 20)
      file.close()
      #expect(try await control("changes", mount.place).hasPrefix("0 bytes"))
    }

    @Test func changesSinceACheckpoint() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      let file = try mount.open()
      try file.write([UInt8](repeating: 1, count: 4096), at: 0)
      _ = try await control("checkpoint", mount.place, "one")
      try file.write([UInt8](repeating: 2, count: 4096), at: 8192)
      _ = try await control("checkpoint", mount.place, "two")
      try file.allocate(.punchHole, 0..<4096)
      func changes(_ arguments: String...) async throws -> String {
        try await member("[.changes[] | [.offset, .length, .change]]", of: control(["changes", "--json"] + arguments))
      }
      #expect(try await changes(mount.place) == #"[[0,4096,"zeroed"],[8192,4096,"written"]]"#)
      #expect(try await changes("--since", "two", mount.place) == #"[[0,4096,"zeroed"]]"#)
      #expect(try await changes(mount.place + "@two") == #"[[0,4096,"written"],[8192,4096,"written"]]"#)
      #expect(try await changes("--since", "one", mount.file + "@two") == #"[[8192,4096,"written"]]"#)
      try await refused("changes", "--since", "two", mount.place + "@one", naming: "does not lie on")
      try await refused("changes", mount.place + "@three", naming: "no checkpoint")
    }

    /// Another checkpoint may get the name of one that was deleted, and is as closed as the disk is.
    @Test(.needs(.root)) func namesAndModesAreNotRemembered() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      let kept = mount.file + "@x"
      _ = try await control("checkpoint", mount.place, "x")
      let old = try TestFile(kept, O_RDONLY)
      try mount.open().write([UInt8](repeating: 5, count: 4096), at: 0)
      _ = try await control("checkpoint", "--delete", mount.place, "x")
      #expect(throws: Errno.noSuchFileOrDirectory) { try TestFile(kept, O_RDONLY) }
      _ = try await control("checkpoint", mount.place, "x")
      #expect(try TestFile(kept, O_RDONLY).read(4096, at: 0) == [UInt8](repeating: 5, count: 4096))
      #expect(try old.read(4096, at: 0) == Image.content.bytes(4096))
      #expect(chmod(mount.file, 0o600) == 0)
      #expect(try status(kept).st_mode & 0o777 == 0o400)
    }

    /// A fork is a mount of a checkpoint's file.
    @Test func forks() async throws {
      let image = try sandbox.image(size: 4 << 20)
      let mount = try await sandbox.mount(image)
      let file = try mount.open()
      try file.write([UInt8](repeating: 1, count: 1 << 20), at: 1 << 20)
      _ = try await control("checkpoint", mount.place, "prepared")
      var forks: [Mount] = []
      for index in 0..<3 {
        let fork = try await sandbox.mount(image, "--name", "fork.img", from: mount.file + "@prepared")
        try fork.open().write([UInt8](repeating: UInt8(10 + index), count: 4096), at: index * 4096)
        forks.append(fork)
      }
      try file.write([UInt8](repeating: 99, count: 1 << 20), at: 1 << 20)
      for (index, fork) in forks.enumerated() {
        let other = try fork.open(O_RDONLY)
        #expect(try other.read(4096, at: index * 4096) == [UInt8](repeating: UInt8(10 + index), count: 4096))
        #expect(try other.read(1 << 20, at: 1 << 20) == [UInt8](repeating: 1, count: 1 << 20))
        try expectBase(other, 2 << 20..<4 << 20)
      }
      for fork in forks { try await fork.unmount() }
    }

    @Test func badInput() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      _ = try await control("checkpoint", mount.place, "one")
      try await refused("checkpoint", mount.place, "one", naming: "'one'", "already")
      try await refused("checkpoint", mount.place, "a/b", naming: "a/b")
      // With the file's own name before it, no file could be called that.
      let long = String(repeating: "x", count: 200)
      _ = try await control("checkpoint", mount.place, long)
      try await refused("checkpoint", mount.place, long + "x", naming: "xxx")
      try await refused("checkpoint", "--delete", mount.place, "two", naming: "'two'", "no checkpoint")
      let readOnly = try await sandbox.mount(sandbox.image("ro.img", size: 4096), "--read-only")
      try await refused("checkpoint", readOnly.place, "one", naming: "read-only")
      try await refused("reset", readOnly.place, naming: "read-only")
    }

    /// With few workers and a writer that keeps them busy, neither waits for the other for ever.
    @Test func checkpointsUnderLoad() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 8 << 20), "--threads", "2")
      let worker = Task.detached {
        let file = try mount.open(O_RDWR | O_DIRECT)
        for round in 0..<2000 { try file.write([UInt8](repeating: 5, count: 65536), at: (round % 128) << 16) }
      }
      for index in 0..<10 {
        _ = try await control("checkpoint", mount.place, "c\(index)")
        if index % 2 == 1 { #expect(unlink(mount.file + "@c\(index - 1)") == 0) }
      }
      try await worker.value
      #expect(try mount.open().read(65536, at: 0) == [UInt8](repeating: 5, count: 65536))
    }
  }
}
