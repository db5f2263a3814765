// A server that an image has taken over: it may say to the keeper whatever it likes, and the keeper goes on hearing signals,
// takes no more than it needs, and does nothing that the user did not ask for.

import CConfinementProbe
import Glibc
import SystemPackage
import Testing

/// The server's end of the keeper's socket, in the hands of the test. The server itself is stopped.
private final class TakenServer: Sendable {
  let socket: FileDescriptor
  let process: Daemon

  init(_ process: Daemon) throws {
    self.process = process
    kill(process.pid, SIGSTOP)
    let number = try process.descriptors().first { (Int($0.number) ?? 0) > 2 && $0.target.hasPrefix("socket:") }?.number
    socket = FileDescriptor(rawValue: probe_take_descriptor(process.pid, try #require(number.flatMap { CInt($0) })))
    #expect(socket.rawValue != -1, "\(Errno(rawValue: errno))")
  }

  deinit { try? socket.close() }

  /// Sends a message, as in Messages.swift.
  @discardableResult
  func say(_ kind: UInt8, _ numbers: UInt64..., text: String = "", passing: CInt = -1) -> Bool {
    let bytes = numbers.flatMap { number in (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }
    let message = [kind, UInt8(numbers.count)] + bytes + Array(text.utf8)
    return probe_send(socket.rawValue, message, message.count, passing) == 0
  }

  /// Says it so often, as the keeper hears it.
  func say(times: Int, _ message: (TakenServer, UInt64) -> Bool) async throws {
    for turn in 0..<times {
      #expect(try await eventually { message(self, UInt64(turn)) }, "the keeper does not listen")
    }
  }
}

extension Mounted {
  @Suite(.needs(.root)) struct HostileServers {
    @Test func askingForWriteBacks() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      let server = try TakenServer(mount.daemon.server)
      // Nobody answers the processes that are to write back.
      try await server.say(times: 400) { $0.say(7, $1, 0, 0) }
      #expect(StartedServer.children(of: mount.daemon.pid).count < 100)
      kill(server.process.pid, SIGCONT)
      try await mount.end(with: SIGTERM)
    }

    @Test func passingDescriptors() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      let before = try mount.daemon.descriptors().count
      let server = try TakenServer(mount.daemon.server)
      try await server.say(times: 100) { server, _ in server.say(99, passing: 0) }
      #expect(try mount.daemon.descriptors().count == before)
      kill(server.process.pid, SIGCONT)
    }

    @Test func talkingWithoutEnd() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      let server = try TakenServer(mount.daemon.server)
      let talk = Task.detached { while !Task.isCancelled { server.say(99) } }
      defer { talk.cancel() }
      try await Task.sleep(for: .milliseconds(200))
      kill(mount.daemon.pid, SIGTERM)
      let isDetached = try await eventually { try MountEntry.at(mount.place) == nil }
      #expect(isDetached, "the keeper does not hear signals")
      // It is stopped, and does not end.
      kill(mount.daemon.pid, SIGTERM)
      try await mount.expectGone()
    }

    @Test func notListening() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      kill(mount.daemon.server.pid, SIGSTOP)
      for _ in 0..<1000 {
        kill(mount.daemon.pid, SIGUSR1)
        try await Task.sleep(for: .microseconds(500))
      }
      try await mount.end(with: SIGTERM)
    }

    #if DEBUG
      /// A cowmount in the foreground that hangs in its first look at the image.
      private func begin(_ options: String..., at place: String) async throws -> (
        keeper: Daemon, server: TakenServer, end: Task<CommandResult, any Error>
      ) {
        let below = try await Faulty("base-read:delay=60000")
        sandbox.atEnd { below.daemon.killAll() }
        try below.fail()
        let arguments = ["--foreground", "--overlay-dir", try sandbox.directory("overlay")] + options
        let end = Task { [arguments] in
          try await attempt(Host.cowmount, arguments + [below.file, place], limit: .seconds(20))
        }
        #expect(try await eventually { Daemon.find(mentioning: place).contains { $0.server.pid > 0 } })
        let keeper = try #require(Daemon.find(mentioning: place).first)
        // It is in the read when it has given up its rights.
        #expect(try await eventually { try keeper.server.status("Seccomp") == "2" })
        return (keeper, try TakenServer(keeper.server), end)
      }

      /// Where the user says what the image is, nobody else can have it be a virtual disk that names other files.
      @Test(.needs(.program("qemu-nbd"))) func callingAnythingAVirtualDisk() async throws {
        let (_, server, end) = try await begin("--format", "gzip", at: sandbox.directory("mnt"))
        server.say(4, 0)
        expectOneLine(try await end.value, naming: ["takes it for qcow2"], status: 1)
      }

      @Test func impossibleSize() async throws {
        let place = try sandbox.directory("mnt") + "/file"
        try TestFile(place, O_CREAT | O_WRONLY).close()
        let (_, server, end) = try await begin(at: place)
        server.say(5, text: "disk.img")
        server.say(6, 1 << 63, 0, 0)
        expectOneLine(try await end.value, naming: [place], status: 1)
        #expect(try MountEntry.at(place) == nil)
      }

      /// The keeper has something done to the mounted file, and nobody serves it.
      @Test func servingNothing() async throws {
        let place = try sandbox.directory("mnt") + "/file"
        try TestFile(place, O_CREAT | O_WRONLY).close()
        let (keeper, server, end) = try await begin(at: place)
        server.say(5, text: "disk.img")
        server.say(6, 4096, 0, 0)
        #expect(try await eventually { try MountEntry.at(place) != nil })
        try await Task.sleep(for: .milliseconds(200))
        kill(keeper.pid, SIGTERM)
        expectOneLine(try await end.value, naming: ["interrupted"], status: 1)
        #expect(try MountEntry.at(place) == nil)
      }
    #endif
  }
}
