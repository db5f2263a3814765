// What tells scripts and service managers that a mount can be used: --pid-file, --ready-fd and NOTIFY_SOCKET.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct PidFiles {
    @Test(arguments: [false, true], ["", "-o"])
    func namesTheKeeper(staying: Bool, option: String) async throws {
      let file = try sandbox.directory("run") + "/disk.pid"
      let options = option.isEmpty ? ["--pid-file", file] : ["-o", "pid-file=\(file)"]
      let mount = try await sandbox.mount(sandbox.image(size: 5000), options[0], options[1], staying: staying)
      #expect(try await eventually { access(file, F_OK) == 0 })
      #expect(try readText(file) == "\(mount.daemon.pid)\n")
      #expect(try status(file).st_mode & 0o7777 == 0o644)
      if staying { try await mount.end(with: SIGTERM) } else { try await mount.unmount() }
      #expect(try entries(String(file.dropLast("/disk.pid".count))) == [], "it is left")
    }

    /// Relative to where the command is called, though a mount in the background leaves that directory.
    @Test func relative() async throws {
      let (run, place) = (try sandbox.directory("run"), try sandbox.directory("mnt"))
      let arguments = ["--memory", "--pid-file", "disk.pid", try sandbox.image(size: 5000).path, place]
      let result = try await attempt(Host.cowmount, arguments, in: run)
      #expect(result.succeeded, "\(result)")
      // It is there when the command returns.
      let pid = try #require(pid_t(readText(run + "/disk.pid").dropLast()))
      kill(pid, SIGTERM)
      #expect(try await eventually { try !Daemon(pid: pid).isAlive && entries(run) == [] })
    }

    /// Who reads it meanwhile finds the old file or the new one, and a link is not written through.
    @Test func replacesAsAWhole() async throws {
      let run = try sandbox.directory("run")
      _ = try Image(run + "/disk.pid", size: 100, mode: 0o600)
      link(run + "/disk.pid", run + "/other")
      let mount = try await sandbox.mount(sandbox.image(size: 5000), "--pid-file", run + "/disk.pid")
      #expect(try readText(run + "/disk.pid") == "\(mount.daemon.pid)\n")
      #expect(try status(run + "/other").st_size == 100)
      #expect(try entries(run).sorted() == ["disk.pid", "other"])
      try await mount.unmount()
      #expect(try entries(run) == ["other"])
    }

    @Test func anothersIsNotRemoved() async throws {
      let run = try sandbox.directory("run")
      let mount = try await sandbox.mount(sandbox.image(size: 5000), "--pid-file", run + "/disk.pid")
      try await shell(#"echo other > "$1.new"; mv "$1.new" "$1""#, run + "/disk.pid")
      try await mount.unmount()
      #expect(try readText(run + "/disk.pid") == "other\n")
    }

    /// What cannot be used is refused before anything is mounted, or takes the mount down again.
    @Test(.needs(.root)) func badFiles() async throws {
      let (image, place) = (try sandbox.image(size: 5000).path, try sandbox.directory("mnt"))
      let full = try sandbox.directory("full")
      try await sandbox.mountOther("-t", "tmpfs", "-o", "ro", "tmpfs", at: full)
      // As a device would be, and none that anybody needs.
      let pipe = sandbox.path + "/pipe"
      mkfifo(pipe, 0o644)
      for (file, word) in [
        ("/nowhere/x", "does not exist"), (pipe, "no regular file"), (sandbox.path, "no regular file"),
        (place + "/x", "inside the mountpoint"), ("/", "directory"), (full + "/x", "Read-only file system"),
      ] {
        for form in [[], ["--foreground"]] {
          try await expectRefusal(
            form + ["--pid-file", file, image, place], naming: "pid file \(file)", word, status: 1)
        }
      }
    }
  }

  @Suite struct ReadyDescriptors {
    /// Calls cowmount with descriptor 7 leading to a reader, who tells what came until nobody had it open for writing.
    private func run(_ arguments: [String], then after: String = "") async throws -> CommandResult {
      let pipe = try sandbox.directory("pipe") + "/pipe"
      let script = #"""
        mkfifo "$0"; od -An -c "$0" > "$0.out" & reader=$!
        "$@" 7>"$0" & pid=$!
        wait $reader; tr -d ' \n' < "$0.out"
        """#
      return try await attempt(
        "sh", ["-uc", script + "\n" + after, pipe, Host.cowmount, "--ready-fd", "7"] + arguments, limit: .seconds(30))
    }

    /// The reader comes to the end while the mount stands: nobody keeps the descriptor.
    @Test(arguments: [[], ["--foreground"]])
    func oneNewlineWhenTheMountAnswers(form: [String]) async throws {
      let (image, place) = (try sandbox.image(size: 5000), try sandbox.directory("mnt"))
      let result = try await run(
        form + ["--memory", image.path, place],
        then: "stat -c %s '\(place)/disk.img'; fusermount3 -u '\(place)'; wait $pid; echo $?")
      #expect(result.output == "\\n5000\n0\n", "\(result)")
    }

    @Test(arguments: [[], ["--foreground"]])
    func closedWithoutOneOnFailure(form: [String]) async throws {
      let place = try sandbox.directory("mnt")
      let result = try await run(form + ["/nowhere/disk.img", place], then: "wait $pid; echo $?")
      #expect(result.output == "1\n", "\(result)")
    }

    @Test func standardOutput() async throws {
      let (image, place) = (try sandbox.image(size: 5000), try sandbox.directory("mnt"))
      let result = try await attempt(Host.cowmount, ["--ready-fd", "1", "--memory", image.path, place])
      #expect(result.succeeded && result.output == "\n", "\(result)")
      try await shell(#"fusermount3 -u "$1""#, place)
    }

    @Test func noSuchDescriptor() async throws {
      let (image, place) = (try sandbox.image(size: 5000).path, try sandbox.directory("mnt"))
      try await expectRefusal(["--ready-fd", "9", image, place], naming: "--ready-fd 9", status: 1)
      let script = #"exec 9</dev/null; exec "$@""#
      try await expectRefusal(
        ["--ready-fd", "9", image, place], naming: "--ready-fd 9", "writing", status: 1, by: ["sh", "-c", script, "sh"])
    }

    /// Nobody has to read it.
    @Test func theReaderIsGone() async throws {
      let (image, place) = (try sandbox.image(size: 5000).path, try sandbox.directory("mnt"))
      let script = #"mkfifo "$0"; exec 8<>"$0" 7>"$0" 8>&-; "$@""#
      let result = try await attempt(
        "sh", ["-uc", script, sandbox.path + "/fifo", Host.cowmount, "--ready-fd", "7", "--memory", image, place])
      #expect(result.succeeded && result.errors.isEmpty, "\(result)")
      try await shell(#"fusermount3 -u "$1""#, place)
    }
  }

  @Suite struct ServiceManagers {
    private let socket: CInt

    init() {
      socket = Glibc.socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    }

    /// Listens at a path, or behind an at sign at an abstract name.
    private func listen(at place: String) throws {
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      var bytes = Array(place.utf8)
      if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
      let size = socklen_t(2 + bytes.count + (bytes[0] == 0 ? 0 : 1))
      let result = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, size) }
      }
      try TestFile.check(result)
      sandbox.atEnd { [socket] in close(socket) }
    }

    /// The next message; nil where there is none.
    private func next(within milliseconds: CInt = 10_000) -> [String]? {
      var wait = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
      guard poll(&wait, 1, milliseconds) == 1 else { return nil }
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = recv(socket, &bytes, bytes.count, 0)
      return String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self).split(separator: "\n").map(String.init)
    }

    private func start(_ arguments: [String], _ place: String) -> Task<CommandResult, any Error> {
      Task {
        try await attempt(
          Host.cowmount, ["--foreground", "--memory"] + arguments, variables: ["NOTIFY_SOCKET": place],
          limit: .seconds(30))
      }
    }

    @Test(arguments: [false, true]) func beginningAndEnd(isAbstract: Bool) async throws {
      let place = isAbstract ? "@cowmount-test-\(getpid())" : sandbox.path + "/notify"
      try listen(at: place)
      let (image, mountpoint) = (try sandbox.image(size: 5000), try sandbox.directory("mnt"))
      let end = start([image.path, mountpoint], place)
      let first = try #require(next())
      let keeper = try #require(Daemon.find(mentioning: mountpoint).first)
      #expect(first == ["READY=1", "MAINPID=\(keeper.pid)", "STATUS=\(mountpoint)/disk.img is writable"])
      try expectBase(TestFile(mountpoint + "/disk.img"), 0..<5000)
      kill(keeper.pid, SIGTERM)
      #expect(try #require(next()).first == "STOPPING=1")
      #expect(try await end.value.succeeded)
      #expect(next(within: 0) == nil, "nobody else says anything")
    }

    @Test func unmounted() async throws {
      let place = sandbox.path + "/notify"
      try listen(at: place)
      let mountpoint = try sandbox.directory("mnt")
      let end = start([try sandbox.image(size: 5000).path, mountpoint], place)
      #expect(try #require(next()).first == "READY=1")
      try await run("fusermount3", "-u", mountpoint)
      #expect(try #require(next()).first == "STOPPING=1")
      #expect(try await end.value.succeeded)
    }

    @Test func failureIsToldAndNoReadiness() async throws {
      let place = sandbox.path + "/notify"
      try listen(at: place)
      let end = start(["/nowhere/disk.img", try sandbox.directory("mnt")], place)
      let message = try #require(next())
      #expect(message.count == 1 && message[0].hasPrefix("STATUS=/nowhere/disk.img"), "\(message)")
      #expect(try await end.value.status == 1)
      #expect(next(within: 0) == nil)
    }

    /// A server could say that the service is ready before it is.
    @Test(.needs(.program("nbdkit"))) func serversAreNotToldOfIt() async throws {
      let place = sandbox.path + "/notify"
      try listen(at: place)
      let mountpoint = try sandbox.directory("mnt")
      let script = #"test -z "${NOTIFY_SOCKET-}" && exec nbdkit memory 1M"#
      let end = start([mountpoint, "[", "sh", "-c", script, "]"], place)
      #expect(try #require(next()).first == "READY=1")
      try await run("fusermount3", "-u", mountpoint)
      #expect(try await end.value.succeeded)
    }

    /// One that forks has nothing to tell: whoever started it sees its first process end.
    @Test func notFromTheBackground() async throws {
      let place = sandbox.path + "/notify"
      try listen(at: place)
      let mountpoint = try sandbox.directory("mnt")
      let result = try await attempt(
        Host.cowmount, ["--memory", try sandbox.image(size: 5000).path, mountpoint], variables: ["NOTIFY_SOCKET": place]
      )
      #expect(result.succeeded, "\(result)")
      try await run("fusermount3", "-u", mountpoint)
      #expect(next(within: 0) == nil)
    }

    /// The command of exec is the service, and tells what it likes.
    @Test func execLeavesItToTheCommand() async throws {
      let place = sandbox.path + "/notify"
      try listen(at: place)
      let arguments = ["exec", try sandbox.image(size: 5000).path, "--", "sh", "-c", "echo $NOTIFY_SOCKET"]
      let result = try await attempt(
        Host.cowmount, arguments, variables: ["NOTIFY_SOCKET": place, "TMPDIR": sandbox.path])
      #expect(result.output == place + "\n" && next(within: 0) == nil, "\(result)")
    }

    @Test(arguments: ["/nowhere/notify", "relative", "@", "vsock:2:1234", "/" + String(repeating: "n", count: 200)])
    func badSockets(place: String) async throws {
      let mountpoint = try sandbox.directory("mnt")
      let end = start([try sandbox.image(size: 5000).path, mountpoint], place)
      #expect(try await eventually { access(mountpoint + "/disk.img", R_OK) == 0 })
      try await run("fusermount3", "-u", mountpoint)
      let result = try await end.value
      #expect(result.succeeded && result.errorLines.count == 1 && result.errors.contains(place), "\(result)")
    }
  }
}
