// The exposed file is as large as the base, to the byte, and every byte of it can be written.

import Glibc
import Testing

extension Mounted {
  @Suite struct Sizes {
    @Test(arguments: [0, 1, 511, 512, 4095, 4096, 4097, 130_000])
    func smallImage(size: Int) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: size))
      let file = try mount.open()
      #expect(try file.size == size)
      try expect(file, at: 0, holds: Image.content.bytes(size))
      #expect(try file.read(1, at: size) == [])
      expect(try file.read(8192, at: max(0, size - 100)), equals: Image.content.bytes(size).suffix(100).map { $0 })

      let new = Pattern(seed: 99).bytes(size)
      #expect(try file.write(new, at: 0) == size)
      try file.sync()
      #expect(try file.size == size)
      try expect(TestFile(mount.file, O_RDONLY), at: 0, holds: new)
    }

    @Test(arguments: [1, 511, 4095, 130_000], ["4k", "2M"])
    func lastByte(size: Int, blockSize: String) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: size), "--block-size", blockSize)
      let file = try mount.open()
      try file.write([0], at: size - 1)
      try file.sync()
      #expect(try file.size == size)
      try expectBase(file, 0..<size - 1)
      try expect(file, at: size - 1, holds: [0])
    }

    @Test(arguments: [4 << 30 - 1, 4 << 30, 4 << 30 + 1] as [Int])
    func aroundFourGiB(size: Int) async throws {
      let end = size - 3 * 4096..<size
      let mount = try await sandbox.mount(sandbox.image(size: size, data: [0..<4096, end]))
      let file = try mount.open()
      #expect(try file.size == size)
      try expectBase(file, 0..<4096)
      try expectBase(file, end)
      try expectZeros(file, 2 << 30..<2 << 30 + 4096)
      #expect(try file.read(100, at: size - 10).count == 10)

      let new = Pattern(seed: 3).bytes(5000)
      for offset in [2 << 30 - 2500, 4 << 30 - 5001, size - 5000] {
        try file.write(new, at: offset)
        try file.sync()
        try expect(file, at: offset, holds: new)
      }
      #expect(try file.size == size)
      // Nothing that was counted in 32 bits landed at the beginning.
      try expectBase(file, 0..<4096)
    }

    @Test func fifteenTebibytes() async throws {
      let size = 15 << 40
      guard let image = try? sandbox.image(size: size, data: [size - 4096..<size]) else {
        try Skips.skipRest("the file system here has no files of 15 TiB")
      }
      let place = try sandbox.directory("mnt")
      let clock = ContinuousClock()
      let start = clock.now
      let mount = try await sandbox.mount(image, at: place)
      // Milliseconds; the limit leaves room for a busy machine, not for work that grows with the size.
      #expect(clock.now - start < .seconds(1))
      #expect(try mount.daemon.server.kibibytes("RssAnon") < 8 << 10)

      let file = try mount.open()
      #expect(try file.size == size)
      try expectBase(file, size - 4096..<size)
      let new = Pattern(seed: 5).bytes(4096)
      for offset in [0, 7 << 40 + 12345, size - 4096] {
        try file.write(new, at: offset)
        try file.sync()
        try expect(file, at: offset, holds: new)
      }
      #expect(try file.size == size)
      #expect(try mount.daemon.server.kibibytes("RssAnon") < 8 << 10)
      #expect(try mount.overlaySpace() < 8 << 20)
    }
  }
}
