// The processes of a mount, and what happens when one of them dies: the others end the mount, and nothing stays behind.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct Keepers {
    private enum Victim: CaseIterable {
      case keeper, server, guardian
    }

    @Test(arguments: Victim.allCases, [false, true])
    private func oneIsKilled(victim: Victim, isOpen: Bool) async throws {
      let image = try sandbox.image(size: 1 << 20)
      let (place, overlays) = try (sandbox.directory("mnt"), sandbox.directory("overlay"))
      let begun = try await attempt(Host.cowmount, ["--overlay-dir", overlays, image.path, place])
      #expect(begun.succeeded, "\(begun)")
      let keeper = try #require(Daemon.find(mentioning: place).first)
      // A child has its name a moment after it was forked.
      try #require(try await eventually { keeper.family.count == 3 })
      let family = keeper.family
      let file = isOpen ? try TestFile(place + "/disk.img") : nil
      try file?.write([1, 2, 3], at: 5)
      let killed =
        switch victim {
        case .keeper: keeper
        case .server: keeper.server
        case .guardian: keeper.guardian
        }
      kill(killed.pid, SIGKILL)
      #expect(try await eventually { family.allSatisfy { !$0.isAlive } }, "some of \(family) still run")
      #expect(try MountEntry.at(place) == nil, "the mount is left")
      #expect(try entries(place) == [] && entries(overlays) == [])
    }

    @Test func aKilledServerIsTold() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4096), staying: true)
      kill(mount.daemon.server.pid, SIGKILL)
      let result = try #require(try await mount.expectGone(status: 1))
      expectOneLine(result, naming: ["the process that serves the mount was killed by signal 9"], status: 1)
    }

    /// Taking the mount down may hang; a second signal does not wait for it, and the guard goes on by itself.
    @Test func aSecondSignalDoesNotWaitForTheGuard() async throws {
      let (image, place) = (try sandbox.image(size: 4096), try sandbox.directory("mnt"))
      let begun = try await attempt(Host.cowmount, [image.path, place])
      #expect(begun.succeeded, "\(begun)")
      let keeper = try #require(Daemon.find(mentioning: place).first)
      let guardian = keeper.guardian
      kill(guardian.pid, SIGSTOP)
      kill(keeper.pid, SIGTERM)
      // Two that are pending are one.
      #expect(try await eventually { try keeper.status("ShdPnd") == "0000000000000000" })
      try await Task.sleep(for: .milliseconds(200))
      #expect(keeper.isAlive, "it did not wait for the guard")
      kill(keeper.pid, SIGTERM)
      #expect(try await eventually { !keeper.isAlive })
      kill(guardian.pid, SIGCONT)
      #expect(try await eventually { try !guardian.isAlive && MountEntry.at(place) == nil })
    }

    /// Ctrl-C reaches all processes of the terminal's foreground; only the keeper is to do something about it.
    @Test(arguments: Events.allCases)
    private func othersIgnoreSignals(_ signal: Events) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4096))
      for process in [mount.daemon.server, mount.daemon.guardian] { kill(process.pid, signal.rawValue) }
      try expectBase(mount.open(O_RDONLY | O_DIRECT), 0..<4096)
      #expect(mount.daemon.family.count == 3)
    }

    private enum Events: CInt, CaseIterable {
      case interrupt = 2
      case terminate = 15
      case hangUp = 1
    }

    /// As `systemctl stop` does it: all at once, the one that takes the mount down first.
    @Test func allAreToldToEnd() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4096))
      for process in mount.daemon.family { kill(process.pid, SIGTERM) }
      try await mount.expectGone()
    }

    /// Between a mount and its end: the guard is killed at the very time that it is needed.
    @Test func theGuardIsKilledAtTheEnd() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4096))
      kill(mount.daemon.pid, SIGSTOP)
      kill(mount.daemon.guardian.pid, SIGKILL)
      kill(mount.daemon.pid, SIGTERM)
      kill(mount.daemon.pid, SIGCONT)
      try await mount.expectGone()
    }

    /// A server that takes its time to begin.
    private func beginSlowly(at place: String) async throws -> (
      keeper: Daemon, go: String, end: Task<CommandResult, any Error>
    ) {
      let go = try sandbox.directory("go") + "/on"
      let script = #"until [ -e "$0" ]; do sleep 0.05; done; exec nbdkit memory 1M"#
      let arguments = ["--foreground", "--overlay-dir", try sandbox.directory("overlay"), place]
      let end = Task {
        try await attempt(Host.cowmount, arguments + ["[", "sh", "-c", script, go, "]"], limit: .seconds(30))
      }
      #expect(try await eventually { Daemon.find(mentioning: go).contains { $0.family.count == 3 } })
      return (try #require(Daemon.find(mentioning: go).first), go, end)
    }

    @Test(.needs(.program("nbdkit"))) func theGuardIsKilledAtTheBeginning() async throws {
      let place = try sandbox.directory("mnt")
      let (keeper, go, end) = try await beginSlowly(at: place)
      kill(keeper.guardian.pid, SIGKILL)
      try await Task.sleep(for: .milliseconds(100))
      try TestFile(go, O_CREAT | O_WRONLY).close()
      #expect(try await eventually { (try? entries(place)) == ["disk.img"] })
      try await Task.sleep(for: .milliseconds(100))
      kill(keeper.pid, SIGTERM)
      #expect(try await eventually { !keeper.isAlive }, "it waits for one that is gone")
      if keeper.isAlive { keeper.killAll() }
      #expect(try await end.value.status == 0)
      #expect(try MountEntry.at(place) == nil)
    }

    /// Who is killed before it has mounted leaves the mount alone that somebody else made there meanwhile.
    @Test(.needs(.program("nbdkit"))) func anotherMountAtTheSamePlace() async throws {
      let place = try sandbox.directory("mnt")
      let (keeper, _, end) = try await beginSlowly(at: place)
      let guardian = keeper.guardian
      let mount = try await sandbox.mount(sandbox.image(size: 4096), at: place)
      kill(keeper.pid, SIGKILL)
      _ = try await end.value
      #expect(try await eventually { !guardian.isAlive })
      #expect(try MountEntry.at(place) != nil, "the other's mount is gone")
      try expectBase(mount.open(), 0..<4096)
    }

    /// What stands there is ours, whatever its directory is called by now.
    @Test(.needs(.root, .program("nbdkit"))) func theMountpointIsRenamedAtTheBeginning() async throws {
      let parent = try sandbox.directory("parent")
      mkdir(parent + "/mnt", 0o755)
      let (keeper, go, end) = try await beginSlowly(at: parent + "/mnt")
      rename(parent + "/mnt", parent + "/other")
      mkdir(parent + "/mnt", 0o755)
      try TestFile(go, O_CREAT | O_WRONLY).close()
      #expect(try await eventually { (try? entries(parent + "/other")) == ["disk.img"] })
      try await Task.sleep(for: .milliseconds(100))
      kill(keeper.pid, SIGTERM)
      #expect(try await end.value.status == 0)
      #expect(try MountEntry.at(parent + "/other") == nil)
    }

    /// Whoever was to read standard error does not, which holds up neither the mount nor its end.
    @Test func nobodyReadsTheLog() async throws {
      var ends: [CInt] = [0, 0]
      #expect(pipe(&ends) == 0)
      defer { for end in ends { close(end) } }
      _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
      while write(ends[1], "x", 1) == 1 {}
      _ = fcntl(ends[1], F_SETFL, 0)
      let (place, image) = try (sandbox.directory("mnt"), sandbox.image(size: 4096).path)
      let script = #"exec "$0" --foreground --verbose "$1" "$2" 2>"$3""#
      let log = "/proc/\(getpid())/fd/\(ends[1])"
      let end = Task {
        try await attempt("sh", ["-euc", script, Host.cowmount, image, place, log], limit: .seconds(30))
      }
      #expect(try await eventually { (try? entries(place)) == ["disk.img"] })
      let keeper = try #require(Daemon.find(mentioning: place).first)
      try await Task.sleep(for: .milliseconds(300))
      kill(keeper.pid, SIGTERM)
      #expect(try await eventually { !keeper.isAlive }, "it waits for who does not read")
      if keeper.isAlive { keeper.killAll() }
      #expect(try await end.value.status == 0)
      #expect(try MountEntry.at(place) == nil)
    }

    /// Who reads our messages may go away; that ends nothing.
    @Test(.needs(.program("perl"))) func aReaderOfMessagesThatLeft() async throws {
      let (image, place) = (try sandbox.image(size: 4096), try sandbox.directory("mnt"))
      let script = #"pipe R, W; close R; open STDERR, ">&", \*W; $SIG{PIPE} = "DEFAULT"; exec @ARGV"#
      let arguments = ["-e", script, Host.cowmount, "--foreground", "--verbose", image.path, place]
      let running = Task { try await attempt("perl", arguments) }
      #expect(try await eventually { try MountEntry.at(place) != nil })
      try expectBase(TestFile(place + "/disk.img"), 0..<4096)
      // It logs that, too.
      kill(try #require(Daemon.find(mentioning: place).first).pid, SIGTERM)
      let result = try await running.value
      #expect(result.succeeded, "\(result)")
      #expect(try MountEntry.at(place) == nil)
    }

    /// So may who reads a list.
    @Test(.needs(.program("perl"), .program("sfdisk"))) func aReaderOfTheListThatLeft() async throws {
      let image = try sandbox.image(size: 4 << 20, mode: 0o644)
      try await shell(#"printf 'label: dos\nstart=2048, size=4096\n' | sfdisk --quiet "$1""#, image.path)
      let script = #"pipe R, W; close R; open STDOUT, ">&", \*W; $SIG{PIPE} = "DEFAULT"; exec @ARGV"#
      let result = try await attempt("perl", ["-e", script, Host.cowmount, "partitions", image.path])
      #expect(result.succeeded && result.errors.isEmpty, "\(result)")
    }

    /// What each process has open, and none what another one needs: a death would go unnoticed.
    @Test(.needs(.root)) func descriptors() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4096))
      try expectBase(mount.open(), 0..<4096)
      func targets(_ process: Daemon) throws -> [String] {
        try process.descriptors().filter { (Int($0.number) ?? 0) > 2 }.map { $0.target }
      }
      let (guardian, server) = (try targets(mount.daemon.guardian), try targets(mount.daemon.server))
      #expect(guardian.count { $0.hasPrefix("socket:") } == 1 && guardian.count == 3, "\(guardian)")
      #expect(server.count { $0.hasPrefix("socket:") } == 1, "\(server)")
      #expect(!server.contains { $0.contains("signalfd") || $0.hasPrefix("pipe:") }, "\(server)")
      for process in [mount.daemon.guardian, mount.daemon.server] {
        for descriptor in try process.descriptors() where ["0", "1", "2"].contains(descriptor.number) {
          #expect(descriptor.target == "/dev/null")
        }
      }
    }

    /// Away from the terminal, and what they did is told.
    @Test func sessionsAndStatistics() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20), "--verbose", staying: true)
      #expect(Set(mount.daemon.family.map { getsid($0.pid) }).count == 3)
      try expectBase(mount.open(O_RDONLY | O_DIRECT), 0..<1 << 20)
      let result = try #require(try await mount.end(with: SIGTERM))
      #expect(result.errors.contains("was read") && result.errors.contains("the overlay holds 0 bytes"), "\(result)")
    }

    /// What the keeper and the guard take beyond what they share with each other and the server. (The program itself is the
    /// page cache's.)
    @Test(.needs(.root)) func memory() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      try expectBase(mount.open(), 0..<1 << 20)
      for process in [mount.daemon, mount.daemon.guardian] {
        let lines = try readText("/proc/\(process.pid)/smaps_rollup").split(separator: "\n")
        let own = lines.filter { $0.hasPrefix("Private_Dirty:") }.compactMap { line in
          line.split(separator: " ").dropFirst().first.flatMap { Int($0) }
        }
        #expect(own.reduce(0, +) < 1024, "\(process.name) has \(own) KiB of its own")
      }
    }

    /// A mount that was used and is not any more keeps little for itself, whoever still has it open for reading.
    @Test(.needs(.root)) func memoryAtRest() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 32 << 20))
      func own() throws -> Int {
        try [mount.daemon, mount.daemon.server].reduce(0) { sum, process in
          let lines = try readText("/proc/\(process.pid)/smaps_rollup").split(separator: "\n")
          return sum
            + lines.filter { $0.hasPrefix("Private_Dirty:") }.compactMap {
              $0.split(separator: " ").dropFirst().first.flatMap { Int($0) }
            }.reduce(0, +)
        }
      }
      let writer = try mount.open(O_RDWR | O_DIRECT)
      for index in 0..<8 { try writer.write([UInt8](repeating: 3, count: 1 << 20), at: index << 20) }
      writer.close()
      let file = try mount.open(O_RDONLY | O_DIRECT)
      for index in 0..<32 { _ = try file.read(1 << 20, at: index << 20) }
      let used = try own()
      #expect(used > 4096)
      // Ten seconds after the last request.
      #expect(try await eventually(within: .seconds(30)) { try own() < used - 3072 })
      #expect(try file.read(1 << 20, at: 0) == [UInt8](repeating: 3, count: 1 << 20))
      let again = try mount.open()
      try again.write([UInt8](repeating: 4, count: 1 << 20), at: 1 << 20)
      try again.sync()
      #expect(try again.read(1 << 20, at: 1 << 20) == [UInt8](repeating: 4, count: 1 << 20))
    }

    /// The image itself is open in no process with rights.
    @Test(.needs(.root)) func whoHasWhat() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let mount = try await sandbox.mount(image)
      for process in [mount.daemon, mount.daemon.guardian] {
        #expect(try !process.descriptors().contains { $0.target == image.path || $0.target == "/dev/fuse" })
      }
    }

    /// An interrupt while the image is looked at ends all of it, and leaves nothing.
    @Test(.needs(.program("xz")), arguments: [SIGINT, SIGTERM])
    func anInterruptAtTheBeginning(signal: CInt) async throws {
      let image = try sandbox.image("disk.img", size: 64 << 20)
      try await shell(#"gzip -1 < "$1" > "$1.gz""#, image.path)
      let place = try sandbox.directory("mnt")
      let script = #""$0" "$1" "$2" & sleep 0.1; kill -"$3" $! 2>/dev/null; wait $! || true"#
      _ = try await attempt("sh", ["-c", script, Host.cowmount, image.path + ".gz", place, "\(signal)"])
      // It may have been ready before.
      if try MountEntry.at(place) != nil { try await run("fusermount3", "-u", place) }
      #expect(try await eventually { Daemon.processes(mentioning: place).allSatisfy { !$0.isAlive } })
      #expect(try MountEntry.at(place) == nil)
    }

    // MARK: Limits of the caller

    /// Who writes beyond a limit on the size of files is told so; the mount is everybody's, and lives.
    @Test func limitOnFiles() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let (place, overlays) = try (sandbox.directory("mnt"), sandbox.directory("overlay"))
      let script = #"ulimit -f 4096; exec "$@""#
      let arguments = ["-euc", script, "sh", Host.cowmount, "--overlay-dir", overlays, image.path, place]
      let begun = try await attempt("sh", arguments)
      #expect(begun.succeeded, "\(begun)")
      sandbox.atEnd { try await run("fusermount3", "-u", place) }
      let file = try TestFile(place + "/disk.img", O_RDWR | O_DIRECT)
      try file.write(Pattern().bytes(4096), at: 1 << 20)
      #expect(throws: Errno.fileTooLarge) { try file.write(Pattern().bytes(1 << 20), at: 4 << 20) }
      #expect(throws: Errno.fileTooLarge) { try file.resize(64 << 20) }
      try expectBase(file, 0..<4096)
      try expect(file, at: 1 << 20, holds: Pattern().bytes(4096))
    }

    @Test func limitBelowTheImage() async throws {
      let image = try sandbox.image(size: 8 << 20)
      let script = #"ulimit -f 4096; exec "$@""#
      let arguments = ["-euc", script, "sh", Host.cowmount, image.path, try sandbox.directory("mnt")]
      expectOneLine(try await attempt("sh", arguments), naming: ["ulimit -f"], status: 1)
    }

    // MARK: What close(2) says

    /// A seek has the kernel write back, and with that takes the error that the writer's close was to tell.
    @Test func aSeekLeavesTheErrorToTheWriter() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 32 << 20, data: []), "--max-overlay", "1M")
      let descriptor = open(mount.file, O_RDWR | O_CLOEXEC)
      let bytes = Pattern(seed: 5).bytes(4 << 20)
      #expect(bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) } == bytes.count)
      let other = try mount.open(O_RDONLY)
      _ = try other.nextData(8 << 20)
      other.close()
      #expect(close(descriptor) == -1 && errno == ENOSPC, "the writer was not told")
      // Once.
      let again = open(mount.file, O_RDWR | O_CLOEXEC)
      #expect(close(again) == 0)
    }
  }
}
