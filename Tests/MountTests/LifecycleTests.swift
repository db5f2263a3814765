// How a mount begins and ends: usable when the command returns, gone without a trace however it ends.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct Lifecycle {
    @Test func twoHundredCycles() async throws {
      let image = try sandbox.image(size: 130_000)
      let place = try sandbox.directory("mnt")
      let overlays = try sandbox.directory("overlay")
      for cycle in 0..<200 {
        let begun = try await attempt(Host.cowmount, ["--overlay-dir", overlays, image.path, place])
        guard begun.succeeded else { throw CommandFailure(result: begun) }
        // Usable from the first moment, and never with what an earlier cycle wrote.
        let file = try TestFile(place + "/disk.img")
        try expectBase(file, 0..<4096, "cycle \(cycle)")
        try file.write([UInt8(cycle)], at: 5)
        file.close()
        let command = Host.isRoot && cycle % 2 == 0 ? ["umount", place] : ["fusermount3", "-u", place]
        let ended = try await attempt(command[0], Array(command.dropFirst()))
        #expect(ended.succeeded, "\(ended)")
      }
      #expect(try await eventually { Daemon.find(mentioning: place).allSatisfy { !$0.isAlive } })
      #expect(try MountEntry.at(place) == nil)
      #expect(try entries(place) == [])
      #expect(try entries(overlays) == [])
    }

    @Test func background() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 10))
      let entry = try #require(try MountEntry.at(mount.place))
      #expect(entry.type == "fuse.cowmount")
      #expect(entry.source == mount.image.path)
      #expect(entry.options.contains("nosuid"))
      #expect(entry.options.contains("nodev"))
      // On its own: not in our session, with no descriptor of ours, not in our directory.
      #expect(getsid(mount.daemon.pid) != getsid(0))
      // The pipe that told the parent is closed just after that.
      let isClosed = try await eventually {
        try !mount.daemon.descriptors().contains { $0.target.hasPrefix("pipe:") }
      }
      #expect(isClosed)
      let descriptors = try mount.daemon.descriptors()
      for descriptor in descriptors where ["0", "1", "2"].contains(descriptor.number) {
        #expect(descriptor.target == "/dev/null")
      }
      #expect(Host.resolved("/proc/\(mount.daemon.pid)/cwd") == "/")
    }

    /// Some callers have the kernel throw away what became of their children, and whom they start inherits that.
    @Test(.needs(.program("perl"))) func aCallerThatIgnoresChildren() async throws {
      let image = try sandbox.image(size: 5000)
      let (place, overlays) = try (sandbox.directory("mnt"), sandbox.directory("overlay"))
      let ignoring = ["-e", "$SIG{CHLD} = 'IGNORE'; exec @ARGV", Host.cowmount, "--overlay-dir", overlays]
      let failed = try await attempt("perl", ignoring + [sandbox.path + "/nosuch.img", place])
      expectOneLine(failed, naming: ["nosuch.img"], status: 1)
      let begun = try await attempt("perl", ignoring + [image.path, place])
      #expect(begun.succeeded, "\(begun)")
      let daemon = try #require(Daemon.find(mentioning: place).first)
      kill(daemon.pid, SIGTERM)
      #expect(try await eventually { !daemon.isAlive })
      kill(daemon.pid, SIGKILL)
    }

    @Test(arguments: ["0<&- 1>&- 2>&-", "0<&-", "1>&-", "2>&-"])
    func closedStandardDescriptors(closed: String) async throws {
      let image = try sandbox.image(size: 5000)
      let (place, overlays) = try (sandbox.directory("mnt"), sandbox.directory("overlay"))
      let script = #""$0" --overlay-dir "$@" \#(closed)"#
      let arguments = ["-euc", script, Host.cowmount, overlays, image.path, place]
      let result = try await attempt("sh", arguments, limit: .seconds(20))
      #expect(result.succeeded, "\(result)")
      try expectBase(TestFile(place + "/disk.img"), 0..<5000)
      try await run("fusermount3", "-u", place)
    }

    /// The shell waits until nobody has the other end of the pipe.
    @Test func commandSubstitution() async throws {
      let image = try sandbox.image(size: 10)
      let (place, overlays) = try (sandbox.directory("mnt"), sandbox.directory("overlay"))
      let script = #"said=$("$0" --overlay-dir "$1" "$2" "$3" 2>&1); test -z "$said"; fusermount3 -u "$3""#
      let arguments = ["-euc", script, Host.cowmount, overlays, image.path, place]
      let result = try await attempt("sh", arguments, limit: .seconds(20))
      #expect(result.succeeded, "\(result)")
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGHUP], [true, false])
    func signals(signal: CInt, staying: Bool) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4096), staying: staying)
      try mount.open().write([1], at: 0)
      let result = try await mount.end(with: signal)
      // The status of a foreground process is checked there.
      #expect((result != nil) == staying)
    }

    @Test func foregroundEndsWithTheMount() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4096), staying: true)
      try await mount.unmount()
    }

    @Test(arguments: [true, false])
    func terminationWithAnOpenFile(dirty: Bool) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      let file = try mount.open()
      let direct = try mount.open(O_RDONLY | O_DIRECT)
      try expectBase(file, 0..<4096)
      if dirty { try file.write(Pattern().bytes(100_000), at: 0) }
      try await mount.end(with: SIGTERM)
      #expect(throws: Errno.self) { try mount.open() }
      #expect(throws: Errno.self) { try file.resize(5) }
      #expect(throws: Errno.self) { try direct.read(4096, at: 500_000) }
    }

    /// The process ends with the mount, also when requests and the unmounting come close together.
    @Test func endsAtOnce() async throws {
      let image = try sandbox.image(size: 130_000)
      for cycle in 0..<20 {
        let mount = try await sandbox.mount(image)
        let file = try mount.open(O_RDWR | O_DIRECT)
        if cycle % 2 == 0 { try await Task.sleep(for: .milliseconds(30)) }
        try file.write(Pattern().bytes(4096), at: 0)
        file.close()
        let clock = ContinuousClock()
        let time = try await clock.measure { try await mount.unmount() }
        #expect(time < .seconds(3))
      }
    }

    /// With few processes and threads to be had it serves with those, and comes to its end without one more.
    @Test(.needs(.root), arguments: [true, false])
    func fewProcesses(bySignal: Bool) async throws {
      guard let group = try sandbox.controlGroup("pids", limit: 8) else { try Skips.skipRest("no pids cgroup here") }
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20), "--threads", "64", within: group)
      #expect(try entries("/proc/\(mount.daemon.server.pid)/task").count < 8)
      try expectBase(mount.open(O_RDONLY | O_DIRECT), 0..<1 << 20)
      // The one that waited for it to be ready has left room for one.
      let other = Task { try await attempt("sh", ["-c", #"echo $$ > "$0/cgroup.procs"; exec sleep 30"#, group]) }
      #expect(try await eventually { try readText(group + "/pids.current") == "8\n" })
      if bySignal { try await mount.end(with: SIGTERM) } else { try await mount.unmount() }
      for process in try readText(group + "/cgroup.procs").split(separator: "\n") { kill(pid_t(process) ?? 0, SIGKILL) }
      _ = try await other.value
    }

    @Test func aBusyMountIsNotUnmounted() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4096))
      let file = try mount.open()
      let command = Host.isRoot ? ["umount", mount.place] : ["fusermount3", "-u", mount.place]
      let result = try await attempt(command[0], Array(command.dropFirst()))
      #expect(!result.succeeded)
      try file.write([7], at: 7)
      try expect(mount.open(), at: 7, holds: [7])
    }

    @Test func lazyUnmount() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4096))
      let file = try mount.open()
      try await run("fusermount3", "-u", "-z", mount.place)
      try file.write([8], at: 8)
      try expect(file, at: 8, holds: [8])
      #expect(mount.daemon.isAlive)
      file.close()
      try await mount.expectGone()
    }

    @Test(arguments: [true, false])
    func deadMountIsCleared(isFile: Bool) async throws {
      let image = try sandbox.image(size: 4096)
      var place = try sandbox.directory("mnt")
      if isFile { place = try Image(place + "/file", size: 3, mode: 0o644).path }
      let dead = try await sandbox.mount(image, at: place)
      try dead.open().write([1, 2, 3], at: 0)
      // The kernel remembers what it was told, and goes on answering some questions for the dead.
      _ = try (status(place), status(dead.file))
      try await dead.murder()

      let overlays = try sandbox.directory("overlay")
      let result = try await attempt(Host.cowmount, ["--overlay-dir", overlays, image.path, place])
      #expect(result.succeeded, "\(result)")
      #expect(result.errorLines.count == 1 && result.errors.hasPrefix("cowmount: "), "\(result)")
      #expect(result.errors.contains("dead mount") && result.errors.contains(place), "\(result)")
      try expectBase(TestFile(dead.file), 0..<4096, "what was written died with it")
      #expect(try MountEntry.all().filter { $0.mountpoint == place }.count == 1)
      try await run(Host.isRoot ? "umount" : "fusermount3", Host.isRoot ? "--" : "-u", place)
      #expect(try await eventually { Daemon.find(mentioning: place).allSatisfy { !$0.isAlive } })
    }
  }
}
