// fallocate(2): what it promises to reserve, to free and to clear.

import CLinux
import Glibc
import SystemPackage
import TestSupport
import Testing

extension Mounted {
  @Suite struct Allocate {
    @Test func withinTheFile() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20, data: [0..<300_000]))
      let file = try mount.open()
      try file.allocate([], 100_000..<900_000)
      #expect(try file.size == 1 << 20)
      try expectBase(file, 0..<300_000)
      try expectZeros(file, 300_000..<1 << 20)
    }

    @Test func beyondTheEnd() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 100_001))
      let file = try mount.open()
      try file.allocate(.keepSize, 90_000..<1 << 20)
      #expect(try file.size == 100_001)
      #expect(try file.read(1, at: 100_001) == [])
      try file.allocate([], 90_000..<1 << 20)
      #expect(try file.size == 1 << 20)
      try expectBase(file, 0..<100_001)
      try expectZeros(file, 100_001..<1 << 20)
    }

    @Test(arguments: [AllocateMode.punchHole, .zeroRange, [.zeroRange, .keepSize]], ["4k", "64k"])
    func clearing(mode: AllocateMode, blockSize: String) async throws {
      let size = 1 << 20
      let mount = try await sandbox.mount(sandbox.image(size: size), "--block-size", blockSize)
      let file = try mount.open()
      let direct = try mount.open(O_RDONLY | O_DIRECT)
      let new = Pattern(seed: 61).bytes(400_000)
      try file.write(new, at: 300_000)
      try file.sync()
      try file.write(new.prefix(1000).map { $0 }, at: 600_500)  // still dirty when it is cleared
      var expected = try file.read(size, at: 0)
      for range in [65_536..<131_072, 70_000..<80_001, 299_999..<300_001, 400_000..<650_000, 900_000..<size] {
        try file.allocate(mode, range)
        expected.replaceSubrange(range, with: zeros(range.count))
        try expect(direct, at: 0, holds: expected, "\(range)")
        try expect(file, at: 0, holds: expected, "\(range)")
      }
      #expect(try file.size == size)
    }

    @Test(arguments: [AllocateMode.punchHole, .zeroRange])
    func givesSpaceBack(mode: AllocateMode) async throws {
      let size = 8 << 20
      let mount = try await sandbox.mount(sandbox.image(size: size))
      let file = try mount.open()
      try file.write(Pattern(seed: 62).bytes(size), at: 0)
      try file.sync()
      #expect(try mount.overlaySpace() >= size)
      try file.allocate(mode, 0..<4 << 20)
      #expect(try mount.overlaySpace() < 5 << 20)
      try file.allocate(mode, 0..<size)
      #expect(try mount.overlaySpace() < 1 << 20)
      try expectZeros(file, 0..<size)
    }

    /// What was reserved and never written is given back as well.
    @Test func reservationIsGivenBack() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 16 << 20, data: []))
      let file = try mount.open()
      try file.allocate([], 0..<16 << 20)
      try file.allocate(.punchHole, 0..<16 << 20)
      #expect(try mount.overlaySpace() < 1 << 20)
      try expectZeros(file, 0..<1 << 20)
    }

    @Test func zeroRangeBeyondTheEnd() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 100_001))
      let file = try mount.open()
      try file.allocate([.zeroRange, .keepSize], 90_000..<200_000)
      #expect(try file.size == 100_001)
      try file.allocate(.zeroRange, 95_000..<200_000)
      #expect(try file.size == 200_000)
      try file.allocate(.punchHole, 150_000..<400_000)
      #expect(try file.size == 200_000)
      try expectBase(file, 0..<90_000)
      try expectZeros(file, 90_000..<200_000)
    }

    @Test(arguments: [
      AllocateMode.collapseRange, .insertRange, .unshareRange, [.unshareRange, .keepSize], .noHideStale,
      [.punchHole, .zeroRange], AllocateMode(rawValue: 0x4000),
    ])
    func otherModes(mode: AllocateMode) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 65_536))
      let file = try mount.open()
      #expect(throws: Errno.notSupported) { try file.allocate(mode, 4096..<8192) }
      try expectBase(file, 0..<65_536)
    }

    @Test func wrongRanges() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 65_536))
      let file = try mount.open()
      #expect(throws: Errno.invalidArgument) { try file.allocate([], 0..<0) }
      #expect(throws: Errno.invalidArgument) { try file.allocate(.punchHole, -4096..<0) }
      #expect(throws: Errno.badFileDescriptor) { try mount.open(O_RDONLY).allocate(.punchHole, 0..<4096) }
      try expectBase(file, 0..<65_536)
    }

    /// What an earlier one reserved stays so when a later one finds no space.
    @Test(.needs(.root))
    func failureLeavesEarlierReservation() async throws {
      let small = try await sandbox.smallFileSystem("tmpfs", size: "16M")
      let overlays = small + "/overlays"
      mkdir(overlays, 0o755)
      let mount = try await sandbox.mount(sandbox.image(size: 64 << 20, data: []), overlays: overlays)
      let file = try mount.open(O_RDWR | O_DIRECT)
      try file.allocate([], 0..<8 << 20)
      let reserved = try mount.overlaySpace()
      for range in [4 << 20..<24 << 20, 32 << 20..<48 << 20, 60 << 20..<100 << 20] {
        #expect(throws: Errno.noSpace, "\(range)") { try file.allocate([], range) }
        #expect(try mount.overlaySpace() == reserved, "\(range)")
      }
      #expect(try file.size == 64 << 20)
      _ = try await attempt("dd", ["if=/dev/zero", "of=\(small)/filler", "bs=4k"])
      let new = Pattern(seed: 63).bytes(1 << 20)
      for place in 0..<8 { try file.write(new, at: place << 20) }
      #expect(throws: Errno.noSpace) { try file.write(new, at: 8 << 20) }
    }

    @Test(.needs(.root))
    func whereNothingCanBeReserved() async throws {
      let plain = try sandbox.directory("ramfs")
      try await sandbox.mountOther("-t", "ramfs", "ramfs", at: plain)
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20), overlays: plain)
      let file = try mount.open()
      #expect(throws: Errno.notSupported) { try file.allocate([], 0..<65_536) }
      #expect(throws: Errno.notSupported) { try file.allocate([], 0..<4 << 20) }
      #expect(try file.size == 1 << 20)
      try file.allocate(.zeroRange, 0..<4 << 20)
      #expect(try file.size == 4 << 20)
      try expectZeros(file, 0..<4 << 20)
    }
  }

  #if DEBUG
    /// The kernel writes dirty pages back beyond the end while it holds the inode for a growing fallocate. The slow change of
    /// the overlay's length makes the two meet.
    @Suite struct AllocateAndWriteBack {
      private func race(_ mount: Faulty, _ mode: AllocateMode, to end: Int, at place: Int) throws -> Errno? {
        let new = Pattern(seed: 64).bytes(65_536)
        let path = mount.file
        let file = try TestFile(path)
        try file.write(new, at: place)
        try mount.fail()
        var error: Errno?
        do {
          try concurrently(2) { index in
            let own = try TestFile(path)
            if index == 0 {
              clinux_write_back(own.descriptor)
            } else {
              usleep(50_000)
              try own.allocate(mode, 0..<end)
            }
          }
        } catch let thrown as Errno {
          error = thrown
        }
        mount.mend()
        try file.sync()
        posix_fadvise(file.descriptor, 0, 0, CInt(POSIX_FADV_DONTNEED))
        #expect(try file.size >= place + new.count)
        try expect(file, at: place, holds: new)
        try expect(mount.open(), at: place, holds: new)
        return error
      }

      @Test(arguments: [[], AllocateMode.zeroRange])
      func succeeding(mode: AllocateMode) async throws {
        let mount = try await Faulty("overlay-resize:delay=200")
        #expect(try race(mount, mode, to: 24 << 20, at: 32 << 20) == nil)
        #expect(try race(mount, mode, to: 48 << 20, at: 64 << 20) == nil)
      }

      @Test func withoutSpace() async throws {
        let mount = try await Faulty("overlay-resize:delay=200", options: ["--max-overlay", "8M"])
        #expect(try race(mount, [], to: 1 << 30, at: 32 << 20) == .noSpace)
      }
    }
  #endif
}
