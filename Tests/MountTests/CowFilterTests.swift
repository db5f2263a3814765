// What the tests of nbdkit's cow filter look at, by their names, for a mount: pattern and modification time, odd and
// null sizes, exact hole maps before and after trims, large extents, several overlays, and the diff of the manual.

import Glibc
import Testing

extension Mounted {
  @Suite struct CowFilter {
    /// test-cow
    @Test func patternAndModificationTime() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 2 << 20))
      let before = try status(mount.image.path).st_mtim
      let file = try mount.open()
      let fill = (0..<128 << 10).map { UInt8(ascii: "a") + UInt8($0 % 5) }
      try file.write(fill, at: 1_000_000)
      try file.write(Array("hello, world".utf8), at: 4090)
      try file.sync()
      try expect(file, at: 1_000_000, holds: fill)
      try expect(file, at: 4090, holds: Array("hello, world".utf8))
      let after = try status(mount.image.path).st_mtim
      #expect(before.tv_sec == after.tv_sec && before.tv_nsec == after.tv_nsec)
    }

    /// test-cow-unaligned
    @Test(arguments: ["4k", "64k", "2M"])
    func sizeThatIsNoMultipleOfTheBlock(blockSize: String) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 130_000, data: []), "--block-size", blockSize)
      let pattern = (0..<130_000).map { UInt8(ascii: "a") + UInt8($0 % 13) }
      try mount.open().write(pattern, at: 0)
      try expect(mount.open(O_RDONLY), at: 0, holds: pattern)
      try expect(mount.open(O_RDONLY | O_DIRECT), at: 0, holds: pattern)
    }

    /// test-cow-null
    @Test(arguments: [0, 1, 512, 4095])
    func smallerThanABlock(size: Int) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: size, data: []), "--block-size", "64k")
      let file = try mount.open()
      #expect(try file.size == size)
      #expect(try file.read(65_536, at: 0) == zeros(size))
      #expect(try file.dataRanges() == [])
    }

    /// test-cow-extents1: half allocated, half sparse; trims of a block and of a block and two bytes.
    @Test(arguments: [4096, 65_536])
    func holeMaps(block: Int) async throws {
      let base = 0..<16 * block
      let mount = try await sandbox.mount(sandbox.image(size: 64 * block, data: [base]), "--block-size", "\(block)")
      let file = try mount.open()
      #expect(try file.dataRanges() == [base])
      func trim(_ start: Int, _ count: Int) throws { try file.allocate(.punchHole, start..<start + count) }
      func blocks(_ numbers: Range<Int>) -> Range<Int> { numbers.lowerBound * block..<numbers.upperBound * block }

      try trim(block, block)
      #expect(try file.dataRanges() == [blocks(0..<1), blocks(2..<16)])
      // A byte of each neighbour is cleared, and the neighbours stay data.
      try trim(4 * block - 1, block + 2)
      #expect(try file.dataRanges() == [blocks(0..<1), blocks(2..<4), blocks(5..<16)])
      try expectZeros(file, 4 * block - 1..<5 * block + 1)
      try expectBase(file, 3 * block..<4 * block - 1)
      try expectBase(file, 5 * block + 1..<6 * block)

      try file.write(Pattern().bytes(block), at: 20 * block)
      try file.write(Pattern().bytes(2 * block), at: 48 * block)
      try trim(32 * block, 2 * block)  // a hole already
      try trim(20 * block + 1, block - 2)  // all but the outermost bytes of a block
      #expect(
        try file.dataRanges() == [
          blocks(0..<1), blocks(2..<4), blocks(5..<16), blocks(20..<21), blocks(48..<50),
        ])
      try trim(20 * block, block)
      try trim(47 * block, 2 * block)
      #expect(
        try file.dataRanges() == [blocks(0..<1), blocks(2..<4), blocks(5..<16), blocks(49..<50)])
    }

    /// test-cow-extents-large: numbers of more than 32 bits in extents.
    @Test(arguments: [0, 3 << 30, 4 << 30, 5 << 30, 8 << 30])
    func largeExtents(size: Int) async throws {
      let starts = [0, 1 << 30, 3 << 30 - 4096, 4 << 30 - 4096, 4 << 30 + 65_536, 5 << 30 - 4096, 8 << 30 - 8192]
      let data = starts.filter { $0 + 8192 <= size }.map { $0..<$0 + 8192 }
      let mount = try await sandbox.mount(sandbox.image(size: size, data: data))
      let file = try mount.open()
      #expect(try file.dataRanges() == data)
      guard size >= 4 << 30 else { return }
      try file.allocate(.punchHole, 1 << 30..<size)
      #expect(try file.dataRanges() == [0..<8192])
      try file.write([1], at: size - 1)
      #expect(try file.dataRanges() == [0..<8192, size - 4096..<size])
      #expect(try mount.overlaySpace() < 1 << 20)
    }

    @Test func twoMountsOfOneBase() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let first = try await sandbox.mount(image)
      let second = try await sandbox.mount(image)
      let new = (Pattern(seed: 101).bytes(5000), Pattern(seed: 102).bytes(5000))
      try first.open().write(new.0, at: 10_000)
      try second.open().write(new.1, at: 12_000)
      try first.open().sync()
      try second.open().sync()
      let third = try await sandbox.mount(image)
      try expect(first.open(), at: 10_000, holds: new.0)
      try expectBase(first.open(), 15_000..<20_000)
      try expectBase(second.open(), 5000..<12_000)
      try expect(second.open(), at: 12_000, holds: new.1)
      try expectBase(third.open(), 0..<1 << 20)
      try await first.unmount()
      try expect(second.open(O_RDONLY | O_DIRECT), at: 12_000, holds: new.1)
    }

    @Test func overlayOverAnOverlay() async throws {
      let lower = try await sandbox.mount(sandbox.image(size: 200_000))
      let new = Pattern(seed: 103).bytes(1000)
      try lower.open().write(new, at: 500)
      let upper = try await sandbox.mount(Image(existing: lower.file))
      try expect(upper.open(), at: 500, holds: new)
      try upper.open().write(zeros(1000), at: 500)
      try upper.open().sync()
      try expect(lower.open(), at: 500, holds: new)
    }
  }
}
