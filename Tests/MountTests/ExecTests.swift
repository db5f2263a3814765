// A throwaway disk for one command: `cowmount exec IMAGE -- COMMAND`.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct Exec {
    /// Where private places are made, and what is left there.
    private let places: String

    init() throws {
      places = try sandbox.directory("places")
    }

    private var variables: [String: String] { ["TMPDIR": places, "XDG_RUNTIME_DIR": ""] }

    /// Runs `cowmount exec` to its end, and looks that nothing is left.
    private func exec(
      _ arguments: [String], _ script: String, by program: [String] = [],
      sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> CommandResult {
      let command = program + [Host.cowmount, "exec"] + arguments + ["--", "sh", "-c", script, "sh", "{}"]
      let result = try await attempt(command[0], Array(command[1...]), variables: variables)
      try await expectNothingLeft(sourceLocation: sourceLocation)
      return result
    }

    /// The command does not end before all this is so, unless it was killed.
    private func expectNothingLeft(
      isKilled: Bool = false, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      if isKilled {
        _ = try await eventually {
          try Daemon.processes(mentioning: sandbox.path).isEmpty && entries(self.places) == []
        }
      }
      #expect(try MountEntry.under(places).isEmpty, "a mount is left", sourceLocation: sourceLocation)
      #expect(try entries(places) == [], "a directory is left", sourceLocation: sourceLocation)
      let left = Daemon.processes(mentioning: sandbox.path).filter(\.isAlive)
      #expect(left.isEmpty, "\(left.map(\.name)) still run", sourceLocation: sourceLocation)
    }

    // MARK: What the command gets

    @Test func aDiskThatIsThrownAway() async throws {
      let image = try sandbox.image(size: 100_000)
      let before = try await Fingerprint(of: image.path)
      let script = #"""
        set -e; cmp "$1" "$0.img" 2>&1 || true
        test "$1" = "$COWMOUNT_FILE"; stat -c '%s' "$1"; stat -c '%a %u' "$(dirname "$1")"; ls "$(dirname "$1")"
        printf changed | dd of="$1" bs=1 seek=50000 conv=notrunc status=none; tail -c +50001 "$1" | head -c 7
        """#
      for _ in 0..<2 {
        let result = try await exec([image.path], script)
        #expect(result.succeeded && result.errors.isEmpty, "\(result)")
        #expect(result.output.hasSuffix("100000\n700 \(geteuid())\ndisk.img\nchanged"), "\(result)")
      }
      let same = try await exec([image.path], #"cmp "$1" '\#(image.path)'"#)
      #expect(same.succeeded, "\(same)")
      #expect(try await Fingerprint(of: image.path) == before)
    }

    /// Wherever it stands in an argument, as often as it does.
    @Test func bracesAreThePath() async throws {
      let image = try sandbox.image(size: 5000)
      let result = try await attempt(
        Host.cowmount,
        ["exec", image.path, "--", "printf", #"%s\n"#, "{}", "file={},copy={}", "$COWMOUNT_FILE", "{ }"],
        variables: variables)
      let lines = result.output.split(separator: "\n")
      let path = try #require(lines.first)
      #expect(path.hasPrefix(places + "/cowmount-") && path.hasSuffix("/disk.img"))
      #expect(lines.dropFirst() == ["file=\(path),copy=\(path)", "$COWMOUNT_FILE", "{ }"], "\(result)")
    }

    @Test func options() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let overlays = try sandbox.directory("overlay")
      let options = [
        "--offset", "1000", "-o", "length=5001,name=part.img", "--overlay-dir", overlays, "--block-size", "64k",
      ]
      let result = try await exec(options + [image.path], #"basename "$1"; stat -c %s "$1"; head -c 16 "$1""#)
      let head = String(decoding: Image.content.bytes(16, at: 1000), as: UTF8.self)
      #expect(result.succeeded && result.output == "part.img\n5001\n" + head, "\(result)")
      let readOnly = try await exec(["--read-only", image.path], #"dd if=/dev/zero of="$1" count=1 2>&1"#)
      #expect(readOnly.status == 1 && readOnly.output.contains("Read-only file system"), "\(readOnly)")
      #expect(try entries(overlays) == [])
    }

    @Test(.needs(.program("nbdkit"), .program("qemu-img"), .program("xz")))
    func everySource() async throws {
      let image = try sandbox.image(size: 300_000)
      let server = try await NbdServer(.nbdkit, image)
      let packed = sandbox.path + "/disk.img.xz"
      try await shell(#"xz -c "$1" > "$2""#, image.path, packed)
      let disk = sandbox.path + "/disk.qcow2"
      try await run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", image.path, disk)
      for source in [["[", "nbdkit", "file", image.path, "]"], [server.uri], [packed], [disk]] {
        // qcow2 disks end with a whole sector.
        let result = try await exec(source, #"cmp -n 300000 "$1" '\#(image.path)' && : > "$1""#)
        #expect(result.succeeded && result.errors.isEmpty, "\(result)")
      }
      #expect(try await eventually { StartedServer.minders(mentioning: sandbox.path).isEmpty })
    }

    /// As if cowmount were not between: descriptors, directory, signals and limits are the caller's.
    @Test func whatTheCallerHas() async throws {
      let image = try sandbox.image(size: 5000)
      let list = #"""
        pwd; cat <&7; cat; grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; ulimit -f; ulimit -n
        """#
      let script = "trap '' PIPE; ulimit -S -f 4000; ulimit -S -n 200; cd /usr; exec 7</etc/hostname"
      let plain = try await attempt("sh", ["-euc", "\(script); echo in | sh -c \"$1\"", "sh", list])
      let through = try await attempt(
        "sh",
        ["-euc", "\(script); echo in | \"$2\" exec \"$3\" -- sh -c \"$1\"", "sh", list, Host.cowmount, image.path],
        variables: variables)
      #expect(plain.output.contains("SigBlk:\t0000000000000000"), "\(plain)")
      #expect(through.output == plain.output && through.succeeded, "\(through)")
    }

    /// A lock or pipe of the caller's is not kept by what serves.
    @Test func nobodyElseHasTheCallersDescriptors() async throws {
      let image = try sandbox.image(size: 5000)
      let other = try sandbox.image("other", size: 1).path
      let script = #"""
        "$1" exec "$2" -- sh -c 'for p in $(pgrep -P $PPID cowmount-); do ls -l /proc/$p/fd; done' 7<"$3" | grep -c "$3"
        """#
      let result = try await attempt(
        "sh", ["-uc", script, "sh", Host.cowmount, image.path, other], variables: variables)
      #expect(result.output == "0\n", "\(result)")
    }

    // MARK: How it ends

    @Test(arguments: [
      ("true", 0), ("exit 1", 1), ("exit 77", 77), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -9 $$", 137),
    ])
    func exitStatus(script: String, status: Int32) async throws {
      let result = try await exec([sandbox.image(size: 5000).path], script)
      #expect(result.status == status && result.errors.isEmpty, "\(result)")
    }

    @Test func commandsThatCannotBeRun() async throws {
      let image = try sandbox.image(size: 5000)
      let script = sandbox.path + "/script"
      try await shell(#"echo true > "$1""#, script)
      for (program, status): (String, Int32) in [
        ("no-such-program", 127), ("/nowhere/x", 127), (script, 126), ("/", 126),
      ] {
        let result = try await attempt(Host.cowmount, ["exec", image.path, "--", program], variables: variables)
        expectOneLine(result, naming: [program], status: status)
        try await expectNothingLeft()
      }
    }

    /// What fails before the command begins has a status that few commands have.
    @Test func disksThatCannotBeMounted() async throws {
      let image = try sandbox.image(size: 5000).path
      for arguments in [
        ["nowhere.img"], ["--partition", "1", image], ["--overlay-dir", "/nowhere", image], ["[", "false", "]"],
      ] {
        let result = try await exec(arguments, "echo ran")
        expectOneLine(result, naming: [], status: 125)
      }
    }

    @Test(arguments: ["keeper", "cowmount-serve", "cowmount-guard"])
    func oneIsKilled(victim: String) async throws {
      let image = try sandbox.image(size: 5000)
      let log = sandbox.path + "/log"
      let find = victim == "keeper" ? "$PPID" : "$(pgrep -P $PPID \(victim))"
      // A process that has nothing to do with its disk is asked to end with it.
      let script = "trap 'echo ended > \(log); exit 3' TERM; kill -9 \(find); for i in $(seq 300); do sleep 0.1; done"
      let command = [Host.cowmount, "exec", image.path, "--", "sh", "-c", script]
      let result = try await attempt(command[0], Array(command[1...]), variables: variables)
      try await expectNothingLeft(isKilled: true)
      #expect(result.status == (victim == "keeper" ? 137 : 125), "\(result)")
      #expect(try await eventually { (try? readText(log)) == "ended\n" })
    }

    @Test func theDiskIsUnmounted() async throws {
      let result = try await exec(
        [sandbox.image(size: 5000).path], #"trap : TERM; umount "$(dirname "$1")"; sleep 0.2; sleep 0.2; exit 0"#)
      expectOneLine(result, naming: ["the disk of sh is gone"], status: 125)
    }

    // MARK: Signals

    private func start(
      _ image: Image, _ script: String, _ mark: String
    ) async throws -> (keeper: Daemon, end: Task<CommandResult, any Error>) {
      let arguments = ["exec", image.path, "--", "sh", "-c", script]
      let end = Task { [variables] in
        try await attempt(Host.cowmount, arguments, variables: variables, limit: .seconds(60))
      }
      #expect(try await eventually { access(mark, F_OK) == 0 }, "the command does not run")
      let keepers = Daemon.find(mentioning: image.path)
      return (try #require(keepers.first), end)
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGHUP, SIGQUIT])
    func signalsArePassedOn(signal: CInt) async throws {
      let (image, mark) = (try sandbox.image(size: 5000), sandbox.path + "/mark")
      let names = [SIGINT: "INT", SIGTERM: "TERM", SIGHUP: "HUP", SIGQUIT: "QUIT"]
      let name = try #require(names[signal])
      // It ends in its own time, and has its disk until then.
      let script = """
        trap 'echo \(name); sleep 0.2; test -s "$COWMOUNT_FILE" && exit 9' \(name); : > \(mark)
        for i in $(seq 300); do sleep 0.1; done
        """
      let (keeper, end) = try await start(image, script, mark)
      kill(keeper.pid, signal)
      let result = try await end.value
      #expect(result.status == 9 && result.output == "\(name)\n", "\(result)")
      try await expectNothingLeft()
    }

    /// The kernel sends Ctrl-C to the command as well; a second one would mean something else to many programs.
    @Test(.needs(.program("script"), .program("python3"))) func interruptedAtTheTerminal() async throws {
      let (image, mark) = (try sandbox.image(size: 5000), sandbox.path + "/mark")
      let command =
        "exec python3 -c 'import signal,time,os,sys\nn=0\n"
        + "def f(*a):\n global n\n n+=1\n"
        + "signal.signal(signal.SIGINT,f)\nopen(\"\(mark)\",\"w\")\n"
        + "while n==0: time.sleep(.05)\ntime.sleep(.5)\nprint(\"interrupts:\",n,os.isatty(0))'"
      let file = sandbox.path + "/command"
      try await shell(#"printf %s "$1" > "$2""#, command, file)
      let script = #"""
        { until [ -e "$4" ]; do sleep 0.05; done; printf '\003'; sleep 2; } |
          script -qec "'$1' exec '$2' -- sh '$3'" /dev/null
        """#
      let result = try await attempt(
        "sh", ["-uc", script, "sh", Host.cowmount, image.path, file, mark], variables: variables)
      #expect(result.output.contains("interrupts: 1 True"), "\(result)")
      try await expectNothingLeft()
    }

    @Test(.needs(.program("nbdkit")), arguments: [SIGINT, SIGTERM, SIGHUP])
    func interruptedBeforeTheCommandBegins(signal: CInt) async throws {
      let mark = sandbox.path + "/mark"
      let server = ["[", "sh", "-c", ": > \(mark); sleep 60", "]"]
      let end = Task { [variables] in
        try await attempt(Host.cowmount, ["exec"] + server + ["--", "echo", "ran"], variables: variables)
      }
      // The server runs, and somebody waits for it.
      #expect(
        try await eventually {
          access(mark, F_OK) == 0 && Daemon.find(mentioning: mark).contains { $0.server.pid > 0 }
        })
      #expect(try entries(places) != [])
      let keeper = try #require(Daemon.find(mentioning: mark).first { $0.server.pid > 0 })
      kill(keeper.pid, signal)
      let result = try await end.value
      #expect(result.status == 128 + signal && result.output.isEmpty, "\(result)")
      try await expectNothingLeft()
      #expect(try await eventually { StartedServer.minders(mentioning: sandbox.path).isEmpty })
    }

    // MARK: The place

    /// A directory of somebody else's, or one in which others could put something else in the place, is not used.
    @Test(.needs(.root)) func placesThatAreTrusted() async throws {
      let image = try sandbox.image(size: 5000)
      let runtime = try sandbox.directory("runtime")
      func place(_ variables: [String: String]) async throws -> String {
        let result = try await attempt(
          Host.cowmount, ["exec", image.path, "--", "dirname", "{}"], variables: variables)
        #expect(result.succeeded && result.errors.isEmpty, "\(result)")
        return result.output
      }
      func isIn(_ directory: String, _ place: String) -> Bool { place.hasPrefix(directory + "/cowmount-") }
      #expect(try await isIn(runtime, place(["XDG_RUNTIME_DIR": runtime, "TMPDIR": places])))
      chown(runtime, 65534, 65534)
      #expect(try await isIn(places, place(["XDG_RUNTIME_DIR": runtime, "TMPDIR": places])))
      #expect(try await isIn("/tmp", place(["XDG_RUNTIME_DIR": "", "TMPDIR": runtime])))
      chmod(places, 0o777)
      #expect(try await isIn("/tmp", place(["XDG_RUNTIME_DIR": "", "TMPDIR": places])))
      chmod(places, 0o1777)
      #expect(try await isIn(places, place(["XDG_RUNTIME_DIR": "", "TMPDIR": places])))
      #expect(try entries(runtime) == [] && entries(places) == [])
    }

    @Test(.needs(.root, .program("setpriv"), .program("fusermount3"))) func ordinaryUser() async throws {
      try await withDeviceForEverybody {
        let image = try sandbox.image(size: 5000)
        let home = try sandbox.directory("home")
        let cowmount = home + "/cowmount"
        try await run("cp", Host.cowmount, cowmount)
        chown(places, 65534, 65534)
        let script = #"stat -c '%u %a' "$(dirname "$1")" "$1"; printf x > "$1"; cat "$1"; exit 5"#
        let arguments = [cowmount, "exec", image.path, "--", "sh", "-c", script, "sh", "{}"]
        let result = try await attempt("setpriv", nobody + arguments, variables: variables)
        #expect(result.status == 5 && result.output == "65534 700\n65534 644\nx", "\(result)")
        try await expectNothingLeft()
      }
    }
  }
}
