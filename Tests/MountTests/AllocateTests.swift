// fallocate(2): what it promises to reserve, to free and to clear.

import Glibc
import SystemPackage
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
      #expect(throws: Errno.notSupportedOnSocket) { try file.allocate(mode, 4096..<8192) }
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
  }
}
