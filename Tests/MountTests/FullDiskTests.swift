// No space below the overlay: the writer is told, nothing else happens, and writing goes on when there is space again.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite(.needs(.root), .serialized) struct FullDisk {
    static let size = 64 << 20

    /// Writes blocks one after the other until that fails; how many bytes were taken, and the error.
    private func fill(_ file: TestFile, from start: Int = 0) -> (end: Int, error: Errno?) {
      var offset = start
      do {
        while offset < Self.size {
          try file.write(Pattern(seed: 141).bytes(64 << 10, at: offset), at: offset)
          offset += 64 << 10
        }
        return (offset, nil)
      } catch {
        return (offset, error)
      }
    }

    @Test(arguments: ["tmpfs", "ext4"], ["4k", "64k"])
    func direct(type: String, blockSize: String) async throws {
      let small = try await sandbox.smallFileSystem(type, size: "8M")
      let mount = try await sandbox.mount(
        sandbox.image(size: Self.size, data: [0..<1 << 20]), "--block-size", blockSize, overlays: small)
      let file = try mount.open(O_RDWR | O_DIRECT)
      let (end, error) = fill(file)
      #expect(error == .noSpace)
      #expect(end > 4 << 20 && end <= 8 << 20)
      try expect(file, at: 0, holds: Pattern(seed: 141).bytes(end), "what was taken is there")
      try expectZeros(file, 32 << 20..<33 << 20)
      #expect(throws: Errno.noSpace) { try file.write(Pattern().bytes(1 << 20), at: 40 << 20) }
      // What is in the overlay can still be changed.
      let new = Pattern(seed: 142).bytes(65_536)
      try file.write(new, at: 0)
      try expect(file, at: 0, holds: new)
      #expect(mount.daemon.isAlive)

      try file.allocate(.punchHole, 0..<2 << 20)
      try file.write(new, at: 48 << 20)
      try expect(file, at: 48 << 20, holds: new)
      try expect(file, at: 2 << 20, holds: Pattern(seed: 141).bytes(end - 2 << 20, at: 2 << 20))
    }

    /// Small blocks here and there get their space when they are stored, and a place on the disk only later: what was
    /// acknowledged must find one.
    @Test(arguments: ["tmpfs", "ext4", "xfs"])
    func scattered(type: String) async throws {
      let small = try await sandbox.smallFileSystem(type, size: type == "xfs" ? "320M" : "16M")
      let free = try await fillUp(small, leaving: 12 << 20)
      let overlays = small + "/overlays"
      mkdir(overlays, 0o755)
      let mount = try await sandbox.mount(sandbox.image(size: Self.size, data: []), overlays: overlays)
      let file = try mount.open(O_RDWR | O_DIRECT)
      let pattern = Pattern(seed: 145)
      let blocks = Self.size / 4096
      var written: [Int] = []
      let error = #expect(throws: Errno.self) {
        for index in 0..<blocks {
          // An odd number and a power of two: every block once, none beside the one before.
          let block = index * 7919 % blocks
          try file.write(pattern.bytes(4096, at: block * 4096), at: block * 4096)
          written.append(block)
        }
      }
      #expect(error == .noSpace)
      #expect(written.count * 4096 > free / 10 * 8, "of \(free) bytes")
      try await run("sync", "-f", small)
      try TestFile("/proc/sys/vm/drop_caches", O_WRONLY).write(Array("3".utf8), at: 0)
      for block in written {
        try expect(file, at: block * 4096, holds: pattern.bytes(4096, at: block * 4096), "block \(block)")
      }
      #expect(mount.daemon.isAlive)
    }

    /// Takes all but `left` bytes of a file system; how many there are then.
    private func fillUp(_ directory: String, leaving left: Int) async throws -> Int {
      var space = statvfs()
      statvfs(directory, &space)
      let free = Int(space.f_bavail) * Int(space.f_frsize)
      if free > left { try await run("fallocate", "-l", "\(free - left)", directory + "/filler") }
      statvfs(directory, &space)
      return Int(space.f_bavail) * Int(space.f_frsize)
    }

    @Test(arguments: ["tmpfs", "ext4"])
    func buffered(type: String) async throws {
      let small = try await sandbox.smallFileSystem(type, size: "8M")
      let mount = try await sandbox.mount(sandbox.image(size: Self.size, data: []), overlays: small)
      let file = try mount.open()
      let early = Pattern(seed: 143).bytes(1 << 20)
      try file.write(early, at: 0)
      try file.sync()
      // The kernel's cache takes it all, or notices early; fsync tells at the latest.
      let (_, error) = fill(file, from: 1 << 20)
      let late = #expect(throws: Errno.self) { try file.sync() }
      #expect([error, late].contains(.noSpace))
      #expect(mount.daemon.isAlive)
      try expect(mount.open(O_RDONLY | O_DIRECT), at: 0, holds: early)

      try file.resize(1 << 20)
      try file.resize(Self.size)
      _ = try? file.sync()
      let again = try mount.open()
      try again.write(early, at: 4 << 20)
      try again.sync()
      try expect(mount.open(O_RDONLY | O_DIRECT), at: 4 << 20, holds: early)
      try expectZeros(again, 1 << 20..<4 << 20)
    }

    @Test(arguments: ["tmpfs", "ext4"])
    func spaceTakenAndGivenByOthers(type: String) async throws {
      let small = try await sandbox.smallFileSystem(type, size: "16M")
      let overlays = small + "/overlays"
      mkdir(overlays, 0o755)
      let mount = try await sandbox.mount(sandbox.image(size: Self.size), overlays: overlays)
      let file = try mount.open(O_RDWR | O_DIRECT)
      let new = Pattern(seed: 144).bytes(1 << 20)
      try file.write(new, at: 0)
      _ = try await attempt("dd", ["if=/dev/zero", "of=\(small)/filler", "bs=4k"])
      #expect(throws: Errno.noSpace) { try file.write(new, at: 8 << 20) }
      try expectBase(file, 16 << 20..<17 << 20)
      try file.write(new.reversed(), at: 0)
      unlink(small + "/filler")
      try file.write(new, at: 8 << 20)
      try expect(file, at: 8 << 20, holds: new)
      try expect(file, at: 0, holds: new.reversed())
    }

    @Test(arguments: ["tmpfs", "ext4"])
    func allocation(type: String) async throws {
      let small = try await sandbox.smallFileSystem(type, size: "8M")
      let mount = try await sandbox.mount(sandbox.image(size: Self.size), overlays: small)
      let file = try mount.open()
      #expect(throws: Errno.noSpace) { try file.allocate([], 0..<32 << 20) }
      #expect(try mount.overlaySpace() < 2 << 20, "a reservation that failed keeps nothing")
      try file.allocate([], 0..<2 << 20)
      try expectBase(file, 0..<4 << 20)
    }

    /// Stores into a mapping have nobody to tell: they are lost at worst, and the process lives.
    @Test func mapping() async throws {
      let small = try await sandbox.smallFileSystem("tmpfs", size: "4M")
      let mount = try await sandbox.mount(sandbox.image(size: Self.size, data: []), overlays: small)
      let file = try mount.open()
      let mapping = try Mapping(file, count: 16 << 20, flags: MAP_SHARED)
      for offset in stride(from: 0, to: 16 << 20, by: 1 << 20) {
        try mapping.write(Pattern().bytes(1 << 20), at: offset)
      }
      #expect(throws: Errno.self) { try mapping.sync() }
      #expect(mount.daemon.isAlive)
      try expectZeros(mount.open(O_RDONLY | O_DIRECT), 60 << 20..<61 << 20)
    }
  }
}
