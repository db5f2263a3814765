// What is left to the server of a virtual disk: as the kernel tells it, and by a stand-in for qemu-nbd that tries what somebody
// would who had made it run code of his own.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.program("qemu-img"), .program("qemu-nbd"))) struct ConfinedServers {
    private func disk(mode: mode_t) async throws -> Image {
      let (raw, _) = try VirtualDisks.raw()
      let image = try await VirtualDisks.convert(raw, "qcow2", name: "disk.qcow2")
      chmod(image.path, mode)
      return image
    }

    /// What the kernel says of the server of a mount, a line by its name.
    private func told(of daemon: Daemon) throws -> [String: [String]] {
      let server = try StartedServer(of: daemon).server
      #expect(Host.resolved("/proc/\(server.pid)/cwd") == "/")
      let lines = try readText("/proc/\(server.pid)/status").split(separator: "\n")
      return Dictionary(
        uniqueKeysWithValues: lines.map { line in
          let words = line.split { $0 == "\t" || $0 == " " }.map(String.init)
          return (String(words[0].dropLast()), Array(words.dropFirst()))
        })
    }

    /// Another user with no right, but to read an image that is closed to others, or those that it names.
    @Test(.needs(.root), arguments: [(mode_t(0o644), false, "0"), (0o640, false, "4"), (0o644, true, "4")])
    func rights(mode: mode_t, isForced: Bool, capabilities: String) async throws {
      let image = try await disk(mode: mode)
      let mount =
        isForced
        ? try await sandbox.mount(image, "--name", "disk.img", "--format", "qcow2")
        : try await sandbox.mount(image, "--name", "disk.img")
      let status = try told(of: mount.daemon)
      let kept = String(repeating: "0", count: 15) + capabilities
      for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] { #expect(status[set] == [kept], "\(set)") }
      #expect(status["CapBnd"] == [String(repeating: "0", count: 16)])
      #expect(status["NoNewPrivs"] == ["1"] && status["Seccomp"] == ["2"] && status["Groups"] == [])
      let users = Set(try #require(status["Uid"]) + #require(status["Gid"]))
      let user = try #require(users.first.flatMap { Int($0) })
      #expect(users.count == 1 && user > 2_013_265_920)
      try expect(mount.open(), at: 0, holds: Image.content.bytes(1 << 20))
    }

    /// A file system that lets in only who mounted it, as FUSE does without allow_other.
    @Test(.needs(.root, .program("qemu-storage-daemon"))) func anImageThatOnlyRootCanOpen() async throws {
      let image = try await disk(mode: 0o644)
      let (shown, pidFile) = (sandbox.path + "/shown.qcow2", sandbox.path + "/pid")
      try TestFile(shown, O_RDWR | O_CREAT).close()
      try await run(
        "qemu-storage-daemon", "--blockdev",
        "driver=raw,node-name=disk,read-only=on,file.driver=file,file.read-only=on,file.filename=\(image.path)",
        "--export", "type=fuse,id=export,node-name=disk,mountpoint=\(shown),writable=off,allow-other=off",
        "--daemonize", "--pidfile", pidFile)
      sandbox.atEnd {
        let pid = pid_t(try readText(pidFile).prefix { $0 != "\n" }) ?? 0
        #expect(pid > 0 && kill(pid, SIGTERM) == 0)
        #expect(try await eventually { try MountEntry.at(shown) == nil })
      }
      let place = try sandbox.directory("mnt")
      let result = try await attempt(Host.cowmount, ["--name", "disk.img", shown, place])
      #expect(result.succeeded, "\(result)")
      let status = try told(of: try #require(Daemon.find(mentioning: place).first))
      #expect(status["Uid"] == ["0", "0", "0", "0"] && status["Seccomp"] == ["2"])
      try expect(TestFile(place + "/disk.img", O_RDONLY), at: 0, holds: Image.content.bytes(1 << 20))
      try await run("fusermount3", "-u", place)
    }

    /// The change of its user calls off what it had asked for before.
    @Test func aServerWhoseMinderIsKilledEnds() async throws {
      let mount = try await sandbox.mount(try await disk(mode: 0o644), "--name", "disk.img")
      let started = try StartedServer(of: mount.daemon)
      #expect(kill(started.minder.pid, SIGKILL) == 0)
      #expect(try await eventually { !started.server.isAlive })
    }

    /// Attempts and their errors, 0 for success.
    private static let attack = #"""
      #!/usr/bin/perl
      my @tried;
      sub tried { push @tried, $_[0] . "=" . ($_[1] ? 0 : $! + 0); }
      tried("chmod", chmod 04755, "$ENV{VICTIMS}/victim");
      tried("unlink", unlink "$ENV{VICTIMS}/victim");
      tried("write", sysopen my $f1, "$ENV{VICTIMS}/victim", 1);
      tried("update", sysopen my $f2, "$ENV{VICTIMS}/victim", 2);
      tried("create", sysopen my $f3, "$ENV{VICTIMS}/new", 0101);
      tried("network", socket my $s1, 2, 1, 0);
      tried("local", socket my $s2, 1, 1, 0);
      tried("fork", defined fork);
      tried("kill", kill 0, getppid);
      tried("shadow", sysopen my $f4, "/etc/shadow", 0);
      tried("other", sysopen my $f5, "$ENV{VICTIMS}/victim", 0);
      tried("exec", do { no warnings; exec {"$ENV{VICTIMS}/victim"} "victim" });
      tried("image", sysopen my $f6, "/proc/self/fd/4", 0);
      print join(" ", @tried), "\n";
      exit 1;

      """#

    @Test(.needs(.program("perl")), arguments: [false, true])
    func aStandInIsRefusedEverything(isForced: Bool) async throws {
      let known = try await attempt("perl", ["-e", "exit(syscall(444, 0, 0, 1) < 1)"])
      guard known.succeeded else { try Skips.skipRest("no Landlock in this kernel") }
      let image = try await disk(mode: 0o644)
      let victims = try sandbox.directory("victims")
      try TestFile(victims + "/victim", O_RDWR | O_CREAT, mode: 0o777).write([1, 2, 3], at: 0)
      chmod(victims + "/victim", 0o777)
      let tools = try sandbox.directory("tools")
      try TestFile(tools + "/qemu-nbd", O_RDWR | O_CREAT, mode: 0o755).write(Array(Self.attack.utf8), at: 0)
      let result = try await attempt(
        Host.cowmount, [image.path, try sandbox.directory("mnt")] + (isForced ? ["--format", "qcow2"] : []),
        variables: ["PATH": tools + ":" + Host.programs, "VICTIMS": victims])
      #expect(!result.succeeded)
      // With the format given, it reads what whoever mounts may read.
      let (shadow, other) = isForced ? (Host.isRoot ? 0 : EACCES, 0) : (EACCES, EACCES)
      let expected = """
        chmod=1 unlink=1 write=1 update=13 create=1 network=1 local=1 fork=1 kill=1 shadow=\(shadow) other=\(other) \
        exec=13 image=0
        """
      #expect(result.errors.contains(expected + "\n"), "\(result)")
      #expect(try entries(victims) == ["victim"])
      #expect(try status(victims + "/victim").st_mode & 0o7777 == 0o777)
      try expect(TestFile(victims + "/victim", O_RDONLY), at: 0, holds: [1, 2, 3])
    }
  }
}
