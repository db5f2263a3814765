// A server that is given as a command, and lives as long as the mount: `cowmount MOUNTPOINT [ nbdkit … ]`.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite(.needs(.program("nbdkit"))) struct ServedCommands {
    // MARK: What is served

    @Test func randomReadsAndWrites() async throws {
      let image = try sandbox.image(size: 6 << 20 + 1234)
      let mount = try await sandbox.mount(image, by: ["nbdkit", "file", image.path])
      #expect(try MountEntry.at(mount.place)?.source == "nbdkit")
      #expect(try entries(mount.place) == ["disk.img"])
      let server = try StartedServer(of: mount.daemon)
      try workAtRandom(mount, content: Image.content.bytes(6 << 20 + 1234))
      try await mount.unmount()
      try await server.expectGone()
    }

    /// Every word between the brackets is the command's own.
    @Test(arguments: [[], ["--"]], [["memory", "size=1G"], ["pattern", "1G"], ["-f", "--", "null", "size=1G"]])
    func syntax(separator: [String], words: [String]) async throws {
      let (place, overlays) = try (sandbox.directory("mnt"), sandbox.directory("overlay"))
      for first in [[], ["mount"]] {
        let arguments = first + ["--overlay-dir", overlays, place] + separator + ["[", "nbdkit"] + words + ["]"]
        let result = try await attempt(Host.cowmount, arguments)
        #expect(result.succeeded && result.errors.isEmpty, "\(result)")
        let file = try TestFile(place + "/disk.img")
        #expect(try file.size == 1 << 30)
        // Each eight bytes are their own place, from the highest byte on.
        let expected: [UInt8] = words[0] == "pattern" ? [0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78] : zeros(8)
        try expect(file, at: 0x1234_5678, holds: expected)
        file.close()
        try await run("fusermount3", "-u", place)
      }
      #expect(try await eventually { StartedServer.minders(mentioning: place).allSatisfy { !$0.isAlive } })
    }

    @Test func relativePaths() async throws {
      let image = try sandbox.image(size: 100_000)
      let directory = String(image.path.dropLast("/disk.img".count))
      mkdir(directory + "/mnt", 0o755)
      let result = try await attempt(
        Host.cowmount, ["--memory", "mnt", "[", "nbdkit", "file", "disk.img", "]"], in: directory)
      #expect(result.succeeded, "\(result)")
      try expectBase(TestFile(directory + "/mnt/disk.img"), 0..<100_000)
      try await run("fusermount3", "-u", directory + "/mnt")
    }

    @Test func partitionsAndWindows() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let command = ["[", "nbdkit", "file", image.path, "]"]
      let listing = try await attempt(Host.cowmount, ["partitions"] + command)
      expectOneLine(listing, naming: ["nbdkit", "no partition table"])
      let mount = try await sandbox.mount(
        image, "--offset", "1000", "--length", "5001", by: command.dropFirst().dropLast())
      #expect(try mount.open().size == 5001)
      try expect(mount.open(), at: 0, holds: Image.content.bytes(5001, at: 1000))
    }

    // MARK: What the server gets

    @Test func descriptorsAndVariables() async throws {
      let image = try sandbox.image(size: 5000)
      // The caller's own sockets, descriptors and ignored signals are not the server's.
      let script = #"""
        trap '' HUP; export LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=a:b:c; exec 7</dev/null 8</dev/null; exec "$@"
        """#
      let place = try sandbox.directory("mnt")
      let server = #"""
        # The highest are the C library's own.
        ignored=$(sed -n 's/^SigIgn:.*\(.\{7\}\)/\1/p' /proc/self/status)
        echo "$LISTEN_FDS $((LISTEN_PID - $$)) ${LISTEN_FDNAMES-none} $ignored" >&2; exit 9
        """#
      let result = try await attempt(
        "sh", ["-euc", script, "sh", Host.cowmount, place, "[", "sh", "-c", server, "]"])
      expectOneLine(result, naming: ["sh exited with status 9", ": 1 0 none 0000000"])

      let mount = try await sandbox.mount(image, by: ["sh", "-c", "exec nbdkit file \(image.path)"])
      let daemon = try StartedServer(of: mount.daemon).server
      let status = try readText("/proc/\(daemon.pid)/status").split(separator: "\n")
      // Nothing is blocked.
      #expect(status.contains { $0 == "SigBlk:\t0000000000000000" }, "\(status)")
      #expect(getsid(daemon.pid) != getsid(mount.daemon.pid))
    }

    @Test func noDescriptorsBeyondTheSocket() async throws {
      let list = sandbox.path + "/list"
      let image = try sandbox.image(size: 5000)
      let mount = try await sandbox.mount(
        image, by: ["sh", "-c", "ls /proc/$$/fd > \(list).tmp; mv \(list).tmp \(list); exec nbdkit file \(image.path)"])
      // The shell has one of its own for a moment, at 10.
      let numbers = try readText(list).split(separator: "\n").filter { $0 != "10" }
      #expect(numbers == ["0", "1", "2", "3"], "\(numbers)")
      #expect(try mount.daemon.server.descriptors().count { $0.target.hasPrefix("socket:") } >= 1)
      for descriptor in try mount.daemon.server.descriptors() where Int(descriptor.number) ?? 0 > 2 {
        #expect(try mount.daemon.server.flags(of: descriptor.number) & 0o2000000 != 0, "close-on-exec: \(descriptor)")
      }
    }

    /// Reclaim that waits for the mount does not make the server wait for reclaim.
    @Test func servesReclaim() async throws {
      let image = try sandbox.image(size: 5000)
      let mount = try await sandbox.mount(image, by: ["nbdkit", "file", image.path])
      let server = try StartedServer(of: mount.daemon).server
      for process in [mount.daemon.server, server] {
        #expect(try process.isFlusher() == mount.daemon.mayServeReclaim(), "\(process.name)")
      }
    }

    @Test func whatTheServerSaysIsLogged() async throws {
      let image = try sandbox.image(size: 5000)
      let command = ["sh", "-c", "echo before; printf 'two\\033[2Jlines\\n' >&2; exec nbdkit file \(image.path)"]
      let mount = try await sandbox.mount(image, staying: true, by: command)
      let result = try #require(try await mount.end(with: SIGTERM))
      #expect(result.errorLines.contains("cowmount: sh: before"), "\(result)")
      #expect(result.errorLines.contains("cowmount: sh: two\u{FFFD}[2Jlines"), "\(result)")
      #expect(result.output.isEmpty)
    }

    // MARK: The end

    /// Has a shell's child take the socket that the shell was given.
    private static let child = "perl -e '$ENV{LISTEN_PID} = $$; exec @ARGV'"

    @Test(arguments: [nil, SIGTERM, SIGKILL])
    func everyProcessEndsWithTheMount(signal: CInt?) async throws {
      let image = try sandbox.image(size: 5000)
      let mark = "1000.\(getpid())"
      // One stays with its server, and one goes into a session of its own, as daemons do, and has a child there.
      let others = "sleep \(mark) & setsid sh -c 'sleep \(mark); :' &"
      let mount = try await sandbox.mount(image, by: ["sh", "-c", "\(others) exec nbdkit file \(image.path)"])
      let server = try StartedServer(of: mount.daemon)
      func left() async throws -> String { try await attempt("pgrep", ["-f", "^sleep \(mark)"]).output }
      #expect(try await eventually { try await left().split(separator: "\n").count == 2 })
      switch signal {
      case SIGKILL?: try await mount.murder()
      case let signal?: try await mount.end(with: signal)
      case nil: try await mount.unmount()
      }
      try await server.expectGone()
      #expect(try await eventually { try await left().isEmpty })
    }

    /// Of a server that changed its user, a parent-death signal alone would be lost.
    @Test(.needs(.root, .program("setpriv"))) func anotherUsersServer() async throws {
      let image = try sandbox.image(size: 5000)
      for signal in [SIGKILL, SIGTERM] {
        let mount = try await sandbox.mount(image, by: ["setpriv"] + nobody + ["nbdkit", "file", image.path])
        let server = try StartedServer(of: mount.daemon)
        try expectBase(mount.open(), 0..<5000)
        if signal == SIGKILL { try await mount.murder() } else { try await mount.end(with: signal) }
        try await server.expectGone()
      }
    }

    @Test(.needs(.program("perl"))) func aStubbornServer() async throws {
      let image = try sandbox.image(size: 5000)
      let mount = try await sandbox.mount(
        image, by: ["sh", "-c", "trap '' TERM; \(Self.child) nbdkit file \(image.path); sleep 1000"])
      let server = try StartedServer(of: mount.daemon)
      try await mount.murder()
      // It gets five seconds.
      try await server.expectGone()
    }

    @Test func aServerThatEnds() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let mount = try await sandbox.mount(image, staying: true, by: ["nbdkit", "file", image.path])
      let file = try mount.open(O_RDWR | O_DIRECT)
      try file.write(zeros(4096), at: 0)
      let server = try StartedServer(of: mount.daemon)
      kill(server.server.pid, SIGKILL)
      try await server.expectGone()
      try expectZeros(file, 0..<4096)
      let clock = ContinuousClock()
      let time = clock.measure { #expect(throws: Errno.ioError) { try file.read(4096, at: 1 << 19) } }
      #expect(time < .seconds(10), "nobody waits for it to come back")
      let result = try #require(try await mount.end(with: SIGTERM))
      #expect(result.errors.contains("nbdkit was killed by signal 9: what it served"), "\(result)")
    }

    @Test func aMinderThatIsKilled() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let mount = try await sandbox.mount(image, staying: true, by: ["nbdkit", "file", image.path])
      let file = try mount.open(O_RDONLY | O_DIRECT)
      let server = try StartedServer(of: mount.daemon)
      kill(server.minder.pid, SIGKILL)
      #expect(try await eventually { (try? file.read(4096, at: 1 << 19)) == nil })
      let result = try #require(try await mount.end(with: SIGTERM))
      #expect(result.errors.contains("nbdkit ended with the process that minds it"), "\(result)")
      try await server.expectGone()
    }

    /// A connection that is lost to a server that lives is made again, through a socket that has no name any more.
    @Test(.needs(.program("perl"))) func aLostConnection() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let again = "while :; do \(Self.child) nbdkit file \(image.path); done"
      let mount = try await sandbox.mount(image, by: ["sh", "-c", again])
      let file = try mount.open(O_RDONLY | O_DIRECT)
      let server = try StartedServer(of: mount.daemon).server
      for place in stride(from: 0, to: 1 << 20, by: 1 << 18) {
        try expectBase(file, place..<place + 4096)
        for child in StartedServer.children(of: server.pid) { kill(child, SIGKILL) }
      }
    }

    // MARK: Failures

    @Test func refusals() async throws {
      let place = newMountpoint
      func command(_ words: String...) -> [String] { [place, "["] + words + ["]"] }
      try await expectServerRefusal(command("nosuchprogram", "x"), naming: "nosuchprogram", "no program")
      try await expectServerRefusal(command(sandbox.path + "/nosuch"), naming: "nosuch", "no program")
      try await expectServerRefusal(command("/etc/passwd"), naming: "passwd", "ermission denied")
      try await expectServerRefusal(
        command("nbdkit", "file", "/nosuch.img"), naming: "nbdkit", "status 1", "/nosuch.img")
      try await expectServerRefusal(command("true"), naming: "true", "status 0", "foreground")
      try await expectServerRefusal(
        command("sh", "-c", "echo first >&2; echo last >&2; exit 3"), naming: "sh exited with status 3", ": last")
      try await expectServerRefusal(command("sh", "-c", "kill -9 $$"), naming: "signal 9")
      // One that never listens, one that hangs up, and one that talks something else.
      try await expectServerRefusal(["--reconnect", "1"] + command("sleep", "1000"), naming: "sleep", "1 s")
      try await expectServerRefusal(command("sh", "-c", "exec 3<&-; sleep 1000"), naming: "sh runs")
      try await expectServerRefusal(["--reconnect", "1"] + command("nbdkit", "memory", "0"), naming: "nbdkit", "empty")
    }

    @Test func usage() async throws {
      let place = newMountpoint
      try await expectServerRefusal([place, "[", "nbdkit", "memory", "1M"], naming: "]", status: 64)
      try await expectServerRefusal([place, "[", "]"], naming: "[ ]", status: 64)
      try await expectServerRefusal(["[", "nbdkit", "memory", "1M", "]"], naming: "mountpoint", status: 64)
      try await expectServerRefusal(
        ["disk.img", place, "[", "nbdkit", "memory", "1M", "]"], naming: "Unexpected", status: 64)
      try await expectServerRefusal(
        ["--format", "raw", place, "[", "nbdkit", "memory", "1M", "]"], naming: "--format", status: 64)
    }
  }
}
