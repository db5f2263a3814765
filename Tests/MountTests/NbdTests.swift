// Images on NBD servers, real ones: nbdkit and qemu-nbd over TCP and Unix sockets. What servers never do is done by a fake
// one in NbdImagesTests.

import Glibc
import SystemPackage
import TestSupport
import Testing

extension Mounted {
  @Suite(.needs(.program("nbdkit"), .program("qemu-nbd"))) struct Nbd {
    private static let size = 16 << 20 + 1234
    private static let data = [0..<3 << 20, 5 << 20..<5 << 20 + 4096, 8 << 20..<size]

    private func image() throws -> Image { try sandbox.image(size: Self.size, data: Self.data) }

    /// The whole image's bytes.
    private func expected() throws -> [UInt8] {
      var bytes = zeros(Self.size)
      for range in Self.data {
        bytes.replaceSubrange(range, with: Image.content.bytes(range.count, at: range.lowerBound))
      }
      return bytes
    }

    // MARK: Bytes

    @Test(arguments: [NbdServer.Kind.nbdkit, .nbdkitOnTCP, .qemu, .qemuOnTCP])
    func randomReadsAndWrites(kind: NbdServer.Kind) async throws {
      let image = try image()
      let server = try await NbdServer(kind, image)
      let mount = try await sandbox.mount(image, from: server.uri)
      #expect(try MountEntry.at(mount.place)?.source == server.uri)
      #expect(try entries(mount.place) == [NbdServer.fileName])
      try workAtRandom(mount, content: expected(), rounds: 150)
      // By the end of the mount: no write came to the base.
    }

    /// A server that takes nothing but multiples of 4096 bytes, 64 KiB at most.
    @Test func blockSizes() async throws {
      let image = try sandbox.image(size: 8 << 20)
      let server = try await NbdServer(
        .nbdkit, image, "--filter=blocksize-policy",
        settings: ["blocksize-minimum=4096", "blocksize-maximum=65536", "blocksize-error-policy=error"])
      let mount = try await sandbox.mount(image, "--offset", "12345", "--length", "5000001", from: server.uri)
      let file = try mount.open()
      #expect(try file.size == 5_000_001)
      for start in stride(from: 0, to: 5_000_001, by: 1 << 20) {
        let count = min(1 << 20, 5_000_001 - start)
        try expect(file, at: start, holds: Image.content.bytes(count, at: 12_345 + start))
      }
    }

    // MARK: Holes

    @Test(arguments: [NbdServer.Kind.nbdkit, .qemu])
    func holes(kind: NbdServer.Kind) async throws {
      let image = try image()
      let server = try await NbdServer(kind, image)
      let mount = try await sandbox.mount(image, from: server.uri)
      let file = try mount.open()
      // The last bytes may be rounded up to what the server counts in.
      #expect(try file.dataRanges() == TestFile(image.path, O_RDONLY).dataRanges())
      #expect(try file.status().st_blocks * 512 < 12 << 20)
      try file.write([1], at: 4 << 20)
      try file.sync()
      #expect(try file.dataRanges().contains(4 << 20..<4 << 20 + 4096))
      let copy = sandbox.path + "/copy"
      try await run("cp", "--sparse=auto", mount.file, copy)
      try await run("cmp", mount.file, copy)
      #expect(try status(copy).st_blocks * 512 < 13 << 20)
    }

    @Test func serverWithoutHoles() async throws {
      let image = try image()
      let server = try await NbdServer(.nbdkit, image, "--filter=noextents")
      let mount = try await sandbox.mount(image, from: server.uri)
      let file = try mount.open()
      #expect(try file.dataRanges() == [0..<Self.size])
      try expectZeros(file, 4 << 20..<5 << 20)
    }

    @Test func hugeAndEmpty() async throws {
      let image = try sandbox.image(size: 1)
      let server = try await NbdServer(nbdkit: [], plugin: "memory", "8T")
      let mount = try await sandbox.mount(image, from: server.uri)
      let file = try mount.open()
      #expect(try file.size == 8 << 40)
      #expect(try file.dataRanges() == [])
      try file.write([7], at: 7 << 40)
      try file.sync()
      #expect(try file.dataRanges() == [7 << 40..<7 << 40 + 4096])
      try expectZeros(file, 1 << 40..<1 << 40 + 1 << 20)
    }

    // MARK: Partitions

    @Test(.needs(.program("sfdisk")))
    func partitions() async throws {
      let image = try sandbox.image(size: 8 << 20, mode: 0o644)
      try await shell(#"printf 'label: dos\nstart=2048, size=4096\n' | sfdisk --quiet "$1""#, image.path)
      let server = try await NbdServer(.nbdkit, image)
      let listing = try await attempt(Host.cowmount, ["partitions", server.uri])
      #expect(listing.succeeded && listing.output.contains("\(1 << 20)  \(2 << 20)  2 MiB"), "\(listing)")
      let mount = try await sandbox.mount(image, "--partition", "1", from: server.uri)
      let file = try mount.open()
      #expect(try file.size == 2 << 20)
      try expect(file, at: 0, holds: Image.content.bytes(2 << 20, at: 1 << 20))
    }

    // MARK: TLS

    @Test(.needs(.program("psktool"))) func tls() async throws {
      let image = try image()
      let keys = sandbox.path + "/keys"
      try await run("psktool", "--username=alice", "--pskfile=\(keys)")
      let server = try await NbdServer(.nbdkitOnTCP, image, "--tls=require", "--tls-psk=\(keys)")
      let secure = server.uri.replacing("nbd://", with: "nbds://alice@") + "?tls-psk-file=\(keys)"
      let mount = try await sandbox.mount(image, from: secure)
      let file = try mount.open()
      let whole = try expected()
      try concurrently(4) { part in
        for start in stride(from: part << 20, to: Self.size, by: 4 << 20) {
          let file = try mount.open()
          try WrongBytes.check(file, at: start, holds: Array(whole[start..<min(Self.size, start + 1 << 20)]), "by TLS")
        }
      }
      // It finds its keys again.
      try await server.send(SIGKILL)
      try await server.begin()
      // The kernel forgets what it has read.
      posix_fadvise(file.descriptor, 0, 0, CInt(POSIX_FADV_DONTNEED))
      try expectBase(file, 8 << 20..<9 << 20)

      file.close()
      try await mount.unmount()
      let place = try sandbox.directory("mnt")
      try await expectRefusal([server.uri, place], naming: server.uri, "TLS", "nbds:")
      try await expectRefusal([secure.replacing("alice@", with: "mallory@"), place], naming: "127.0.0.1")
    }
  }
}
