// NBD servers that go away while they are used, and come back or not.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite(.needs(.program("nbdkit"), .program("qemu-nbd"))) struct NbdLoss {
    private func image() throws -> Image { try sandbox.image(size: 16 << 20) }

    @Test(arguments: [NbdServer.Kind.nbdkit, .qemuOnTCP])
    func serverComesBack(kind: NbdServer.Kind) async throws {
      let image = try image()
      let server = try await NbdServer(kind, image)
      let mount = try await sandbox.mount(image, from: server.uri)
      let file = try mount.open()
      try file.write(Pattern(seed: 9).bytes(5000), at: 77)
      try expectBase(file, 1 << 20..<1 << 20 + 4096)
      try await server.send(SIGKILL)
      // A reader waits for it.
      let reader = Task { try await attempt("cmp", ["-n", "100000", "-i", "\(8 << 20)", mount.file, image.path]) }
      try await Task.sleep(for: .milliseconds(300))
      try await server.begin()
      let result = try await reader.value
      #expect(result.succeeded, "\(result)")
      try expectBase(file, 2 << 20..<3 << 20)
      try expect(file, at: 77, holds: Pattern(seed: 9).bytes(5000))
    }

    @Test func serverIsGoneAndComesBackLate() async throws {
      let image = try image()
      let server = try await NbdServer(.nbdkit, image)
      let mount = try await sandbox.mount(image, "--reconnect", "1", from: server.uri)
      let file = try mount.open(O_RDWR | O_DIRECT)
      try file.write(Pattern(seed: 9).bytes(4096), at: 4096)
      try await server.send(SIGKILL)
      #expect(throws: Errno.ioError) { try file.read(4096, at: 1 << 20) }
      #expect(throws: Errno.ioError) { try file.read(4096, at: 2 << 20) }
      // What was written needs no server, nor does writing whole blocks.
      try expect(file, at: 4096, holds: Pattern(seed: 9).bytes(4096))
      try file.write(Pattern(seed: 10).bytes(4096), at: 8192)
      try await server.begin()
      #expect(try await eventually { (try? file.read(4096, at: 1 << 20)) != nil }, "reads go on")
      try expectBase(file, 2 << 20..<3 << 20)
      try expect(file, at: 8192, holds: Pattern(seed: 10).bytes(4096))
    }

    @Test func comesBackAsAnother() async throws {
      let image = try image()
      let other = try sandbox.image(size: 8 << 20)
      // What is served is behind a link.
      let link = sandbox.path + "/served"
      symlink(image.path, link)
      let server = try await NbdServer(.nbdkit, Image(existing: link))
      let mount = try await sandbox.mount(image, "--foreground", staying: true, from: server.uri)
      let file = try mount.open(O_RDWR | O_DIRECT)
      try expectBase(file, 0..<4096)
      try await server.send(SIGKILL)
      unlink(link)
      symlink(other.path, link)
      try await server.begin()
      #expect(throws: Errno.ioError) { try file.read(4096, at: 1 << 20) }
      file.close()
      let result = try await mount.end(with: SIGTERM)
      #expect(result?.errors.contains("another image") ?? false, "\(String(describing: result))")
    }

    @Test func prefetchWaits() async throws {
      let image = try sandbox.image(size: 8 << 20)
      let server = try await NbdServer(.nbdkit, image, "--filter=delay", settings: ["rdelay=20ms"])
      let mount = try await sandbox.mount(
        image, "--prefetch", "--reconnect", "1", staying: true, from: server.uri)
      try await server.send(SIGKILL)
      let reader = try mount.open(O_RDONLY | O_DIRECT)
      #expect(throws: Errno.ioError) { try reader.read(4096, at: 7 << 20) }
      try await server.begin()
      #expect(try await eventually { try mount.overlaySpace() >= 8 << 20 })
      reader.close()
      let result = try await mount.end(with: SIGTERM)
      #expect(result?.errors.contains("8388608 bytes were copied, 0 could not be read") ?? false, "\(result as Any)")
    }

    /// Root may connect to the socket of somebody else; so may the mount, long after it gave its rights up.
    @Test(.needs(.root)) func socketOfAnotherUser() async throws {
      let image = try image()
      let server = try await NbdServer(.nbdkit, image)
      func giveAway() {
        chown(server.socket, 65534, 65534)
        chmod(server.socket, 0o700)
      }
      giveAway()
      let mount = try await sandbox.mount(image, from: server.uri)
      try await server.send(SIGKILL)
      let reader = Task { try await attempt("cmp", ["-n", "100000", mount.file, image.path]) }
      try await server.begin()
      giveAway()
      let result = try await reader.value
      #expect(result.succeeded, "\(result)")
      // Again, so that it surely met the socket as it is now.
      let file = try mount.open(O_RDWR | O_DIRECT)
      try await server.send(SIGKILL)
      try await server.begin()
      giveAway()
      #expect(try await eventually { (try? file.read(4096, at: 1 << 20)) != nil })
    }

    @Test(arguments: [SIGKILL, SIGSTOP])
    func endWhileAReaderWaits(signal: CInt) async throws {
      let image = try image()
      let server = try await NbdServer(.nbdkit, image)
      let mount = try await sandbox.mount(image, "--reconnect", "600", from: server.uri)
      try await server.send(signal)
      let reader = Task { try await attempt("cat", [mount.file]) }
      try await Task.sleep(for: .milliseconds(200))
      // It looks whether the process is gone after ten seconds.
      try await mount.end(with: SIGTERM)
      #expect(try await !reader.value.succeeded)
      if signal == SIGSTOP { try await server.send(SIGKILL) }
    }
  }
}
