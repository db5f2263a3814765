// --cow-on-read: a base is read once, whatever becomes of it afterwards, and what is copied is no change. Whether the base
// is asked is told by making it fail, which takes a debug build.

import Glibc
import SystemPackage
import Testing

#if DEBUG
  extension Mounted.Fault {
    @Test func copiedBlocksNeedNoBase() async throws {
      let mount = try await Faulty("base-read:EIO", options: ["--cow-on-read", "--block-size", "64k"])
      let file = try mount.open()
      for start in stride(from: 0, to: 12 << 20, by: 1 << 20) { try expectBase(file, start..<start + (1 << 20)) }
      try mount.fail()
      // Not from the kernel's cache: these files are opened with O_DIRECT.
      for start in stride(from: 0, to: 12 << 20, by: 1 << 20) { try expectBase(file, start..<start + (1 << 20)) }
      try expectZeros(file, 12 << 20..<16 << 20)
      // Completing a block from the base does not need it either.
      try file.write([1, 2, 3], at: 100)
      try expect(file, at: 100, holds: [1, 2, 3])
      try expectBase(file, 103..<1 << 20)
      #expect(mount.daemon.isAlive)
    }

    @Test func aPartOfABlockBringsAllOfIt() async throws {
      let mount = try await Faulty("base-read:EIO", options: ["--cow-on-read", "--block-size", "1M"])
      let file = try mount.open()
      try expectBase(file, (2 << 20) + 4096..<(2 << 20) + 8192)
      try mount.fail()
      try expectBase(file, 2 << 20..<3 << 20)
      #expect(throws: Errno.ioError) { try file.read(4096, at: 3 << 20) }
    }

    /// The file may be there from the beginning, or come and go by renaming.
    @Test func copiesAreMadeWhileTheFileHasItsName() async throws {
      let path = try sandbox.directory("condition") + "/slow"
      try TestFile(path, O_CREAT | O_WRONLY).close()
      let mount = try await Faulty("base-read:EIO", options: ["--cow-on-read-while", path])
      let file = try mount.open()
      try expectBase(file, 0..<1 << 20)
      rename(path, path + ".not")
      try expectBase(file, 1 << 20..<2 << 20)
      rename(path + ".not", path)
      try expectBase(file, 2 << 20..<3 << 20)
      try mount.fail()
      try expectBase(file, 0..<1 << 20)
      #expect(throws: Errno.ioError) { try file.read(4096, at: 1 << 20) }
      try expectBase(file, 2 << 20..<3 << 20)
    }

    @Test func copiesAreMadeWhileThereIsTheFile() async throws {
      let path = try sandbox.directory("condition") + "/slow"
      let mount = try await Faulty("base-read:EIO", options: ["--cow-on-read-while", path])
      let file = try mount.open()
      try expectBase(file, 0..<1 << 20)
      try TestFile(path, O_CREAT | O_WRONLY).close()
      try expectBase(file, 1 << 20..<2 << 20)
      unlink(path)
      try expectBase(file, 2 << 20..<3 << 20)
      try mount.fail()
      #expect(throws: Errno.ioError) { try file.read(4096, at: 0) }
      try expectBase(file, 1 << 20..<2 << 20)
      #expect(throws: Errno.ioError) { try file.read(4096, at: 2 << 20) }
    }

    /// What nbdkit's copy-on-read loses: a write of the whole block that comes while the block is read for a copy.
    @Test func aWriteDuringASlowReadIsNotLost() async throws {
      let mount = try await Faulty("base-read:delay=300", options: ["--cow-on-read", "--block-size", "64k"])
      try mount.fail()
      let place = 5 << 16
      let reader = Task.detached { try mount.open().read(4096, at: place) }
      try await Task.sleep(for: .milliseconds(50))
      let whole = [UInt8](repeating: 0xAA, count: 65536)
      try mount.open().write(whole, at: place)
      let seen = try await reader.value
      #expect(seen == Array(whole.prefix(4096)) || seen == Image.content.bytes(4096, at: place))
      mount.mend()
      for _ in 0..<2 { try expect(mount.open(), at: place, holds: whole) }
    }

    @Test(arguments: ["overlay-reserve:ENOSPC", "overlay-write:EIO"])
    func copiesThatCannotBeStoredFailNobody(rule: String) async throws {
      let mount = try await Faulty(rule, options: ["--cow-on-read"])
      try mount.fail()
      let file = try mount.open()
      for _ in 0..<2 { try expectBase(file, 0..<1 << 20) }
      mount.mend()
      for _ in 0..<2 { try expectBase(file, 0..<1 << 20) }
    }
  }
#endif

extension Mounted {
  @Suite struct CopyOnRead {
    private static let data = [0..<3 << 20, 6 << 20..<7 << 20]

    private func readAll(_ mount: Mount) throws {
      let file = try mount.open(O_RDONLY | O_DIRECT)
      for range in Self.data { try expectBase(file, range) }
      try expectZeros(file, 3 << 20..<6 << 20)
      try expectZeros(file, 7 << 20..<8 << 20)
    }

    @Test(arguments: [[], ["--read-only"]])
    func copiesAreNoChange(options: [String]) async throws {
      let image = try sandbox.image(size: 8 << 20, data: Self.data)
      let mount =
        if options.isEmpty {
          try await sandbox.mount(image, "--cow-on-read")
        } else {
          try await sandbox.mount(image, "--cow-on-read", options[0])
        }
      let (before, spaceBefore) = (try status(mount.file), try space(mount))
      for _ in 0..<2 { try readAll(mount) }
      // Holes are not copied, data is.
      let used = try mount.overlaySpace()
      #expect(used >= 4 << 20 && used < 5 << 20)
      #expect(try status(mount.file).st_blocks == before.st_blocks)
      #expect(try mount.open(O_RDONLY).dataRanges() == Self.data)
      let spaceAfter = try space(mount)
      #expect(spaceAfter.f_bfree == spaceBefore.f_bfree && spaceAfter.f_bavail == spaceBefore.f_bavail)
    }

    private func space(_ mount: Mount) throws -> statvfs {
      var space = statvfs()
      try TestFile.check(statvfs(mount.place, &space))
      return space
    }

    /// The mount tells itself how often it asked the base.
    @Test(arguments: [true, false])
    func theSecondReadNeverTouchesTheBase(isCopying: Bool) async throws {
      let image = try sandbox.image(size: 8 << 20, data: Self.data)
      let mount =
        if isCopying {
          try await sandbox.mount(image, "--verbose", "--cow-on-read", staying: true)
        } else {
          try await sandbox.mount(image, "--verbose", staying: true)
        }
      for _ in 0..<3 {
        try readAll(mount)
        kill(mount.daemon.pid, SIGUSR1)
        try await Task.sleep(for: .milliseconds(100))
      }
      let result = try #require(try await mount.end(with: SIGTERM))
      let told = result.errorLines.compactMap { line in
        line.firstMatch(of: /was read (\d+) times, (\d+) bytes in all; .* (\d+) bytes that were copied/)
          .map { [Int($0.1), Int($0.2), Int($0.3)] }
      }
      // One for each signal, and one for the end.
      try #require(told.count == 4, "\(result)")
      #expect(told[3] == told[2])
      if isCopying {
        #expect(told[0][1...] == [4 << 20, 4 << 20])
        #expect(told[1] == told[0] && told[2] == told[0])
      } else {
        #expect(told[0][1] == 8 << 20 && told[1][1] == 16 << 20 && told[2][2] == 0)
      }
    }

    @Test func writesHaveAllOfTheLimit() async throws {
      let mount = try await sandbox.mount(
        sandbox.image(size: 8 << 20, data: Self.data), "--cow-on-read", "--max-overlay", "2M")
      try readAll(mount)
      #expect(try mount.overlaySpace() > 1 << 20)
      let file = try mount.open(O_RDWR | O_DIRECT)
      let new = Pattern(seed: 61).bytes(2 << 20)
      try file.write(Array(new[..<(1 << 20)]), at: 4 << 20)
      try file.write(Array(new[(1 << 20)...]), at: 5 << 20)
      #expect(throws: Errno.noSpace) { try file.write([1], at: 7 << 20) }
      try expect(file, at: 4 << 20, holds: new)
      for range in Self.data { try expectBase(file, range) }
    }

    @Test func refusals() async throws {
      let image = try sandbox.image(size: 5000)
      let place = try sandbox.directory("mnt")
      try await expectRefusal(
        ["--cow-on-read-while", place + "/slow", image.path, place], naming: place + "/slow", "inside the mountpoint",
        status: 1)
      try await expectRefusal(
        ["--cow-on-read-while", "/nowhere/at/all", image.path, place], naming: "/nowhere/at/all", "create it", status: 1
      )
      try await expectRefusal(
        ["--cow-on-read", "--cow-on-read-while=/tmp/x", image.path, place], naming: "--cow-on-read-while", status: 64)
    }
  }
}
