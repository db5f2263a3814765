// SEEK_DATA and SEEK_HOLE: base and overlay seen together, and never a hole where there is data.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct Holes {
    static let size = 4 << 20

    @Test func mapOfTheBase() async throws {
      let image = try sandbox.image(size: Self.size, data: [0..<131_072, 1 << 20..<1 << 20 + 4096])
      let mount = try await sandbox.mount(image)
      let file = try mount.open()
      #expect(try file.dataRanges() == TestFile(image.path, O_RDONLY).dataRanges())
      #expect(try file.dataRanges().first == 0..<131_072)
      #expect(try file.nextData(5000) == 5000)
      #expect(try file.nextHole(5000) == 131_072)
      #expect(try file.nextHole(131_073) == 131_073)
      #expect(try file.nextData(2 << 20) == nil)
    }

    @Test func borders() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 130_000))
      let file = try mount.open()
      #expect(try file.nextHole(0) == 130_000, "the end counts as a hole")
      #expect(try file.nextData(129_999) == 129_999)
      #expect(throws: Errno.noSuchAddressOrDevice) { try file.nextHole(130_000) }
      #expect(try file.nextData(130_000) == nil)
      #expect(throws: Errno.self) { try file.nextHole(-1) }
    }

    @Test func emptyFile() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 0))
      let file = try mount.open()
      #expect(try file.nextData(0) == nil)
      #expect(try file.dataRanges() == [])
    }

    @Test func writtenData() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: Self.size, data: []))
      let file = try mount.open()
      try file.write([1], at: 1 << 20 + 100)
      try file.sync()
      #expect(try file.dataRanges() == [1 << 20..<1 << 20 + 4096])
      try file.write(Pattern().bytes(8192), at: 3 << 20)
      try file.sync()
      #expect(try file.dataRanges() == [1 << 20..<1 << 20 + 4096, 3 << 20..<3 << 20 + 8192])
    }

    /// The kernel has what was written, the process that serves the mount has not.
    @Test func dirtyPages() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: Self.size, data: []))
      let file = try mount.open()
      try file.write([1], at: 2 << 20)
      #expect(try file.nextData(0) == 2 << 20)
      try file.write(Pattern().bytes(10_000), at: 1 << 20)
      let other = try mount.open(O_RDONLY)
      #expect(try other.nextData(0) == 1 << 20)
      #expect(try other.nextHole(1 << 20) >= 1 << 20 + 10_000)
      #expect(try other.nextHole(0) == 0)
    }

    @Test func dirtyMapping() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: Self.size, data: []))
      let file = try mount.open()
      let mapping = try Mapping(file, count: Self.size, flags: MAP_SHARED)
      try mapping.write([1, 2, 3], at: 3 << 20)
      #expect(try file.nextData(0) == 3 << 20)
      try mapping.write([4], at: 1 << 20)  // the page is clean again, and must be noticed again
      try mapping.write([5], at: 3 << 20)
      #expect(try file.nextData(0) == 1 << 20)
    }

    @Test func dirtyGrowth() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4096))
      let file = try mount.open()
      try file.write([1], at: 2 << 20)
      #expect(try file.nextData(4096) == 2 << 20)
      #expect(try file.nextHole(0) == 4096)
      #expect(try file.nextHole(2 << 20) == 2 << 20 + 1)
    }

    /// Where the kernel cannot be made to write back, because nobody gets at the file any more, or at another one only,
    /// nothing is called a hole that may be data.
    @Test(.needs(.root), arguments: [true, false])
    func dirtyPagesOutOfReach(isFile: Bool) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: Self.size, data: []))
      let file = try mount.open()
      if isFile {
        try await sandbox.mountOther("--bind", try sandbox.image("other", size: 10).path, at: mount.file)
      } else {
        try await sandbox.mountOther("-t", "tmpfs", "none", at: mount.place)
      }
      // Not before: a program that is started closes its copy of the file, and that writes back.
      try file.write([1], at: 2 << 20)
      #expect(try file.nextData(0) != nil)
      #expect(try file.nextHole(2 << 20) > 2 << 20)
      file.close()
    }

    @Test func clearedRanges() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: Self.size))
      let file = try mount.open()
      try file.allocate(.punchHole, 1 << 20..<2 << 20)
      try file.allocate(.zeroRange, 3 << 20..<3 << 20 + 8192)
      #expect(try file.dataRanges() == [0..<1 << 20, 2 << 20..<3 << 20, 3 << 20 + 8192..<4 << 20])
      try file.resize(1 << 20 + 4096)
      try file.resize(Self.size)
      #expect(try file.dataRanges() == [0..<1 << 20])
    }
  }
}
