// Limits on the overlay: what is left is told, a writer who needs more is told, and what is given back can be used again.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct OverlayLimit {
    private static let written = Pattern(seed: 401)

    private func available(_ path: String) throws -> Int {
      var shown = statvfs()
      try TestFile.check(statvfs(path, &shown))
      return Int(shown.f_bavail * shown.f_frsize)
    }

    @Test(arguments: ["4k", "64k", "1M"])
    func direct(blockSize: String) async throws {
      let mount = try await sandbox.mount(
        sandbox.image(size: 32 << 20), "--max-overlay", "4M", "--block-size", blockSize)
      let file = try mount.open(O_RDWR | O_DIRECT)
      #expect(try available(mount.file) == 4 << 20)
      let new = Self.written.bytes(1 << 20)
      for place in [0, 8, 16, 24] { try file.write(new, at: place << 20) }
      #expect(try available(mount.file) == 0)
      #expect(throws: Errno.noSpace) { try file.write([1], at: 5 << 20) }
      #expect(throws: Errno.noSpace) { try file.write(new, at: 6 << 20) }
      try expectBase(file, 4 << 20..<8 << 20)
      // Earlier data can be read and written in place.
      try file.write(new.reversed(), at: 8 << 20)
      try expect(file, at: 8 << 20, holds: new.reversed())
      try expect(file, at: 0, holds: new)
      #expect(try mount.overlaySpace() <= 5 << 20)

      try file.allocate(.punchHole, 16 << 20..<17 << 20)
      #expect(try available(mount.file) == 1 << 20)
      try file.write(new, at: 6 << 20)
      try expect(file, at: 6 << 20, holds: new)
      try file.resize(8 << 20)
      #expect(try available(mount.file) == 2 << 20)
    }

    /// What the kernel has taken and cannot write shows at fsync.
    @Test func buffered() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 32 << 20, data: []), "--max-overlay", "2M")
      let file = try mount.open()
      var error: Errno?
      do { try file.write(Self.written.bytes(8 << 20), at: 0) } catch let thrown { error = thrown }
      let late = #expect(throws: Errno.self) { try file.sync() }
      #expect([error, late].contains(.noSpace))
      try file.allocate(.punchHole, 0..<32 << 20)
      try file.write(Self.written.bytes(1 << 20), at: 16 << 20)
      try file.sync()
      try expect(mount.open(O_RDONLY | O_DIRECT), at: 16 << 20, holds: Self.written.bytes(1 << 20))
    }

    /// Of limit and file system, the one that leaves less counts.
    @Test(.needs(.root), arguments: ["1G", "2M"])
    func onASmallFileSystem(limit: String) async throws {
      let small = try await sandbox.smallFileSystem("tmpfs", size: "8M")
      let mount = try await sandbox.mount(sandbox.image(size: 32 << 20), "--max-overlay", limit, overlays: small)
      let space = limit == "1G" ? 7 << 20...8 << 20 : 2 << 20...2 << 20
      #expect(try space ~= available(mount.file))
    }

    @Test func inMemory() async throws {
      let mount = try await sandbox.mountInMemory(sandbox.image(size: 8 << 20), "--max-overlay", "1M")
      let file = try TestFile(mount.file, O_RDWR | O_DIRECT)
      #expect(try available(mount.file) == 1 << 20)
      let new = Self.written.bytes(1 << 20)
      try file.write(new, at: 4 << 20)
      #expect(throws: Errno.noSpace) { try file.write([1], at: 0) }
      try expect(file, at: 4 << 20, holds: new)
      try expectBase(file, 0..<4 << 20)
      try file.allocate(.punchHole, 4 << 20..<5 << 20)
      try file.write(new, at: 0)
      try expect(file, at: 0, holds: new)
    }

    /// Without a limit of the user's, memory has one all the same.
    @Test func inMemoryByDefault() async throws {
      let memory = sysconf(CInt(_SC_PHYS_PAGES)) * sysconf(CInt(_SC_PAGESIZE))
      let mount = try await sandbox.mountInMemory(sandbox.image(size: 2 * memory, data: []))
      #expect(try available(mount.file) <= memory / 2)
    }

    @Test(arguments: [("on", true), ("off", false), (nil, false)])
    func zeroes(option: String?, areDetected: Bool) async throws {
      let options = option.map { ["--detect-zeroes", $0] } ?? ["--verbose", "--nonempty"]
      let mount = try await sandbox.mount(sandbox.image(size: 4 << 20), options[0], options[1])
      let file = try mount.open(O_RDWR | O_DIRECT)
      try file.write([UInt8](repeating: 0, count: 1 << 20), at: 1 << 20)
      try expectZeros(file, 1 << 20..<2 << 20)
      try expectBase(file, 0..<1 << 20)
      #expect(try (mount.overlaySpace() < 65536) == areDetected)
    }
  }
}
