// Changing the size, as on a regular file: what grows reads as zeros, what was cut off never comes back.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct Truncation {
    static let size = 200_000

    @Test(arguments: [0, 1, 4095, 4096, 65_537, 199_999], ["4k", "64k"])
    func cutOffBytesNeverComeBack(cut: Int, blockSize: String) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: Self.size), "--block-size", blockSize)
      let file = try mount.open()
      // Some of what is cut off is the base's, some was written, some is still in the kernel's cache.
      try file.write(Pattern(seed: 51).bytes(10_000), at: 60_000)
      try file.sync()
      try file.write(Pattern(seed: 52).bytes(10_000), at: 190_000)
      let kept = try file.read(cut, at: 0)

      try file.resize(cut)
      #expect(try file.size == cut)
      #expect(try file.read(100, at: cut) == [])
      try file.resize(Self.size)
      #expect(try file.size == Self.size)
      for reader in [file, try mount.open(O_RDONLY | O_DIRECT)] {
        try expect(reader, at: 0, holds: kept)
        try expectZeros(reader, cut..<Self.size)
      }
      try file.write([1], at: Self.size - 1)
      try expectZeros(file, cut..<Self.size - 1, "after a write to the last block")
    }

    @Test func cutInSteps() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: Self.size))
      let file = try mount.open()
      for cut in [150_000, 100_001, 50_000] {
        try file.resize(cut)
        try file.resize(cut + 20_000)
        try expectBase(file, 0..<50_000)
        try expectZeros(file, cut..<cut + 20_000)
      }
    }

    @Test func cuttingGivesSpaceBack() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 8 << 20))
      let file = try mount.open()
      try file.write(Pattern(seed: 53).bytes(8 << 20), at: 0)
      try file.sync()
      #expect(try mount.overlaySpace() >= 8 << 20)
      try file.resize(100_000)
      #expect(try mount.overlaySpace() < 1 << 20)
      try expect(file, at: 0, holds: Pattern(seed: 53).bytes(100_000))
    }

    @Test func growing() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: Self.size))
      try await run("truncate", "-s", "20G", mount.file)
      let file = try mount.open()
      #expect(try file.size == 20 << 30)
      try expectBase(file, 0..<Self.size)
      try expectZeros(file, Self.size..<Self.size + 100_000)
      try expectZeros(file, 20 << 30 - 4096..<20 << 30)
      let new = Pattern(seed: 54).bytes(70_000)
      try file.write(new, at: 20 << 30 - 70_000)
      try file.sync()
      try expect(file, at: 20 << 30 - 70_000, holds: new)
      #expect(try file.size == 20 << 30)
      #expect(try mount.overlaySpace() < 1 << 20)
    }

    @Test(arguments: [0, 1, 4095, 130_000])
    func writingPastTheEnd(size: Int) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: size))
      let file = try mount.open()
      let new = Pattern(seed: 55).bytes(5000)
      try file.write(new, at: size + 3000)
      #expect(try file.size == size + 8000)
      try file.sync()
      for reader in [file, try mount.open(O_RDONLY | O_DIRECT)] {
        try expectBase(reader, 0..<size)
        try expectZeros(reader, size..<size + 3000)
        try expect(reader, at: size + 3000, holds: new)
      }
      #expect(try mount.open(O_RDWR | O_DIRECT).write(new.prefix(4096).map { $0 }, at: 1 << 20) == 4096)
      #expect(try file.size == 1 << 20 + 4096)
    }

    @Test func mappedTailBeyondTheEnd() async throws {
      // A store behind the end, in the last page, is not part of the file and must not show when it grows.
      let mount = try await sandbox.mount(sandbox.image(size: 5000))
      let file = try mount.open()
      let mapping = try Mapping(file, count: 8192, flags: MAP_SHARED)
      try mapping.write([9, 9, 9], at: 4998)
      try mapping.sync()
      try file.resize(8192)
      try expect(file, at: 4998, holds: [9, 9, 0, 0])
    }

    @Test func impossibleSizes() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 5000))
      let file = try mount.open()
      #expect(throws: Errno.self) { try file.resize(-1) }
      #expect(throws: Errno.fileTooLarge) { try file.resize(.max) }
      #expect(try file.size == 5000)
      try expectBase(file, 0..<5000)
    }
  }
}
