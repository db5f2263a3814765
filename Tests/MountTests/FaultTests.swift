// Base and overlay that fail under a mount (Faults.swift in DiskIO): whoever needs the bytes is told, everybody else goes
// on, and when the fault is gone it has left nothing. What injects the faults is in debug builds only, so these tests use
// the debug binary beside them and not the one under test.

#if DEBUG
  import Glibc
  import SystemPackage
  import Testing

  extension Mounted {
    @Suite(.needs(.program(debugBinary))) struct Fault {
      static let size = 16 << 20
      static let written = Pattern(seed: 301)

      @Test func base() async throws {
        let mount = try await Faulty("base-read:EIO")
        let (file, other) = (try mount.open(), try mount.open())
        try other.write(Self.written.bytes(1 << 20), at: 4 << 20)
        try mount.fail()
        #expect(throws: Errno.ioError) { try file.read(4096, at: 0) }
        #expect(throws: Errno.ioError) { try TestFile(mount.file).read(10, at: 1 << 20) }
        // Completing a block from the base fails its writer alone.
        #expect(throws: Errno.ioError) { try file.write([1, 2, 3], at: 100) }
        // Whoever needs no base notices nothing.
        try expect(other, at: 4 << 20, holds: Self.written.bytes(1 << 20))
        try other.write(Self.written.bytes(8192, at: 5), at: 8192)
        try expect(other, at: 8192, holds: Self.written.bytes(8192, at: 5))
        try other.allocate(.punchHole, 1 << 20..<2 << 20)
        try expectZeros(other, 1 << 20..<2 << 20)
        mount.mend()
        try expectBase(file, 0..<8192)
        try expectBase(TestFile(mount.file), 2 << 20..<3 << 20)
        try file.write([1, 2, 3], at: 100)
        try expect(file, at: 100, holds: [1, 2, 3])
        try expectBase(file, 103..<8192)
        #expect(mount.daemon.isAlive)
      }

      @Test func overlayRead() async throws {
        let mount = try await Faulty("overlay-read:EIO")
        let (file, other) = (try mount.open(), try mount.open())
        try file.write(Self.written.bytes(65536), at: 65536)
        try mount.fail()
        #expect(throws: Errno.ioError) { try file.read(4096, at: 65536) }
        #expect(throws: Errno.ioError) { try file.read(200_000, at: 0) }
        try expectBase(other, 0..<65536)
        try expectZeros(other, 13 << 20..<14 << 20)
        mount.mend()
        try expect(file, at: 65536, holds: Self.written.bytes(65536))
        #expect(mount.daemon.isAlive)
      }

      @Test(arguments: [
        ("overlay-write:EIO", Errno.ioError), ("overlay-reserve:ENOSPC", .noSpace), ("overlay-reserve:EIO", .ioError),
      ])
      func overlayWrite(rule: String, error: Errno) async throws {
        let mount = try await Faulty(rule)
        let (file, other) = (try mount.open(), try mount.open())
        // Small first writes may leave it to the file system to find space for them.
        let part = [UInt8](repeating: 7, count: rule.hasPrefix("overlay-reserve") ? 40_000 : 1)
        try file.write(Self.written.bytes(65536), at: 0)
        try mount.fail()
        #expect(throws: error) { try file.write(Self.written.bytes(65536), at: 1 << 20) }
        #expect(throws: error) { try file.write(part, at: (2 << 20) + 5) }
        try expectBase(other, 1 << 20..<3 << 20)
        try expect(other, at: 0, holds: Self.written.bytes(65536))
        // Held back by the kernel's cache, it shows when the data is to be safe.
        let buffered = try TestFile(mount.file)
        try buffered.write(Self.written.bytes(65536), at: 3 << 20)
        #expect(throws: Errno.self) { try buffered.sync() }
        mount.mend()
        try file.write(Self.written.bytes(65536), at: 1 << 20)
        try file.write(part, at: (2 << 20) + 5)
        try buffered.write(Self.written.bytes(65536), at: 3 << 20)
        try buffered.sync()
        for offset in [0, 1 << 20, 3 << 20] { try expect(other, at: offset, holds: Self.written.bytes(65536)) }
        try expectBase(other, 2 << 20..<(2 << 20) + 5)
        try expect(other, at: (2 << 20) + 5, holds: part)
      }

      @Test func punch() async throws {
        let mount = try await Faulty("overlay-punch:EIO")
        let file = try mount.open()
        try file.write(Self.written.bytes(1 << 20), at: 0)
        try mount.fail()
        #expect(throws: Errno.ioError) { try file.allocate(.punchHole, 0..<1 << 20) }
        mount.mend()
        try expect(file, at: 0, holds: Self.written.bytes(1 << 20))
        try file.allocate(.punchHole, 0..<1 << 20)
        try expectZeros(file, 0..<1 << 20)
      }

      /// Nobody notices calls that are cut short or interrupted.
      @Test func shortAndInterrupted() async throws {
        let mount = try await Faulty(
          "base-read:short:0.5", "base-read:eintr:0.5", "base-seek:eintr:0.5", "overlay-reserve:eintr:0.5",
          "overlay-punch:eintr:0.5")
        try mount.fail()
        let file = try mount.open()
        try expectBase(file, 0..<4 << 20)
        for offset in stride(from: 0, to: 1 << 20, by: 10_000) { try file.write([9], at: offset) }
        for offset in stride(from: 0, to: 1 << 20, by: 10_000) {
          try expect(file, at: offset, holds: [9])
          try expectBase(file, offset + 1..<offset + 10_000)
        }
        try file.allocate(.punchHole, 0..<1 << 20)
        try expectZeros(file, 0..<1 << 20)
      }

      /// A whole-block write that comes while another write of the block waits for a slow base is not lost.
      @Test func slowBase() async throws {
        let mount = try await Faulty("base-read:delay=200", options: ["--block-size", "64k"])
        try mount.fail()
        let place = 5 << 16
        let partial = Task.detached { try mount.open().write([0x11], at: place + 100) }
        try await Task.sleep(for: .milliseconds(50))
        let whole = [UInt8](repeating: 0xAA, count: 65536)
        try mount.open().write(whole, at: place)
        _ = try await partial.value
        mount.mend()
        var found = try mount.open().read(65536, at: place)
        #expect([0xAA, 0x11].contains(found[100]))
        found[100] = 0xAA
        expect(found, equals: whole)
      }
    }
  }
#endif
