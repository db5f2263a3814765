// Keeping what was changed: `cowmount save MOUNT OUT`.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite(.needs(.program("qemu-img"), .program("qemu-nbd"))) struct Saves {
    private let directory: String
    private var output: String { directory + "/out.qcow2" }

    init() throws {
      directory = try sandbox.directory("saved")
    }

    private func save(_ arguments: String...) async throws { try await save(arguments) }

    private func save(_ arguments: [String]) async throws {
      let result = try await attempt(Host.cowmount, ["save"] + arguments)
      guard result.succeeded else { throw CommandFailure(result: result) }
    }

    /// One line, and nothing made. The mount goes on.
    private func refuse(
      _ arguments: [String], naming words: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      let before = try entries(directory)
      let result = try await attempt(Host.cowmount, arguments)
      expectOneLine(result, naming: words, sourceLocation: sourceLocation)
      #expect(!result.succeeded, sourceLocation: sourceLocation)
      #expect(try entries(directory) == before, sourceLocation: sourceLocation)
    }

    /// The file is sound, has what the mount shows, and is all that was made.
    private func expectSaved(
      _ mount: Mount, state: String = "", format: String = "qcow2", sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      if format == "qcow2" {
        let check = try await attempt("qemu-img", ["check", output])
        #expect(check.succeeded, "\(check)", sourceLocation: sourceLocation)
      }
      let same = try await attempt("qemu-img", ["compare", "-f", "raw", "-F", format, mount.file + state, output])
      #expect(same.succeeded, "\(same)", sourceLocation: sourceLocation)
      #expect(try entries(directory) == ["out.qcow2"], sourceLocation: sourceLocation)
    }

    private func information() async throws -> String { try await run("qemu-img", "info", output) }

    /// Some of everything: within a block, over many, at the end, zeroed, trimmed, zeros written.
    private func change(_ mount: Mount, size: Int) async throws {
      let file = try mount.open()
      try file.write(Pattern(seed: 3).bytes(5), at: 70_000)
      try file.write(Pattern(seed: 4).bytes(200_001), at: 130_001)
      try file.write([UInt8](repeating: 0, count: 150_000), at: 700_000)
      try file.write(Pattern(seed: 5).bytes(100), at: size - 100)
      file.close()
      try await run("fallocate", "-p", "-o", "400000", "-l", "150000", mount.file)
      try await run("fallocate", "-z", "-o", "600001", "-l", "300", mount.file)
    }

    private func changed() async throws -> Mount {
      let mount = try await sandbox.mount(sandbox.image(size: 4 << 20))
      try mount.open().write(Pattern(seed: 6).bytes(3 << 20), at: 0)
      return mount
    }

    /// Does something while a save is under way: QEMU's server begins only afterwards. Nothing is left behind.
    private func whileSaving(_ mount: Mount, _ body: (pid_t) throws -> Void) async throws -> CommandResult {
      let programs = try sandbox.directory("bin")
      let server = #"""
        #!/bin/sh
        : > "$0.mark"; until [ -e "$0.go" ]; do sleep 0.05; done
        exec env LISTEN_PID=$$ PATH="${PATH#*:}" qemu-nbd "$@"
        """#
      try TestFile(programs + "/qemu-nbd", O_RDWR | O_CREAT, mode: 0o755).append(Array(server.utf8))
      let variables = ["PATH": programs + ":" + Host.programs]
      let end = Task { [output] in
        try await attempt(Host.cowmount, ["save", mount.place, output], variables: variables, limit: .seconds(30))
      }
      #expect(try await eventually { access(programs + "/qemu-nbd.mark", F_OK) == 0 })
      let saver = try #require(Daemon.find(mentioning: output).first)
      try body(saver.pid)
      _ = try TestFile(programs + "/qemu-nbd.go", O_RDWR | O_CREAT)
      let result = try await end.value
      if !result.succeeded { #expect(try entries(directory) == [], "a part is left") }
      #expect(try await eventually { StartedServer.minders(mentioning: self.output).allSatisfy { !$0.isAlive } })
      return result
    }

    // MARK: What is saved

    @Test(arguments: [
      [], ["--compress"], ["--cluster-size", "4k"], ["--cluster-size", "2M", "--compress"], ["--full"],
    ])
    func changes(options: [String]) async throws {
      for size in [1 << 20, 1_000_000, 999_999] {
        let mount = try await sandbox.mount(sandbox.image(size: size))
        try await change(mount, size: size)
        let result = try await attempt(Host.cowmount, ["save", "--force"] + options + [mount.place, output])
        #expect(result.succeeded, "\(result)")
        if size % 512 != 0 { expectOneLine(result, naming: [mount.file, "\(size)", "512"], status: 0) }
        try await expectSaved(mount)
        let text = try await information()
        #expect(text.contains("(\((size + 511) / 512 * 512) bytes)"), "\(text)")
        let isFull = options == ["--full"]
        #expect(text.contains("backing file: \(mount.image.path)\n") != isFull, "\(text)")
        #expect(text.contains("backing file format: raw") != isFull, "\(text)")
        try await mount.unmount()
      }
    }

    /// Little is saved of a large disk with few changes, and trims are zero clusters.
    @Test func onlyChanges() async throws {
      let mount = try await sandbox.mount(
        sandbox.image(size: 1 << 34, data: [0..<1 << 20, (1 << 33)..<(1 << 33) + (1 << 20)]))
      try mount.open().write([1], at: 1 << 33)
      try await run("fallocate", "-p", "-o", "0", "-l", "524288", mount.file)
      try await save(mount.file, output)
      #expect(try status(output).st_blocks * 512 < 1 << 20)
      let map = try await run("qemu-img", "map", "--output=json", output)
      let zeros = map.split(separator: "\n").filter {
        $0.contains("\"start\": 0, \"length\": 524288, \"depth\": 0") && $0.contains("\"zero\": true")
      }
      #expect(zeros.count == 1, "\(map)")
      let data = map.split(separator: "\n").filter { $0.contains("\"depth\": 0") && $0.contains("\"data\": true") }
      #expect(data.count == 1 && data[0].contains("\"start\": 8589934592, \"length\": 65536"), "\(map)")
    }

    @Test func unchanged() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 100_000))
      try await save(mount.place, output)
      try await expectSaved(mount)
    }

    @Test(arguments: [300_000, 3_000_000, 123, 0]) func otherSizes(size: Int) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1_000_000))
      try mount.open().write([1, 2, 3], at: 200_000)
      try await run("truncate", "-s", "\(size)", mount.file)
      for options in [["--force"], ["--force", "--compress"], ["--force", "--full"]] {
        let result = try await attempt(Host.cowmount, ["save"] + options + [mount.place, output])
        #expect(result.succeeded, "\(result)")
        try await expectSaved(mount)
      }
    }

    /// What was cut off and comes back as zeros.
    @Test func shrunkAndGrown() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1_000_000))
      try await run("truncate", "-s", "300001", mount.file)
      try await run("truncate", "-s", "2000000", mount.file)
      try await save(mount.place, output)
      try await expectSaved(mount)
    }

    @Test(arguments: [1 << 20, 999_999]) func raw(size: Int) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: size))
      try await change(mount, size: size)
      try await save("--format", "raw", mount.place, output)
      try await expectSaved(mount, format: "raw")
      #expect(try status(output).st_size == size)
      #expect(try status(output).st_blocks * 512 < size - 100_000, "what is zeros is a hole")
      #expect(try status(output).st_mode & 0o7777 == 0o644, "as the exposed file, and closed by the umask")
    }

    /// What lies below is named as exactly as it was shown.
    @Test(arguments: [
      ["--offset", "1000", "--length", "700001"], ["--length", "500000"], ["--offset", "65536", "--size", "2M"],
    ])
    func parts(window: [String]) async throws {
      let image = try sandbox.image(size: 1_000_000)
      let mount = try await sandbox.mount(
        image, window[0], window[1], window.dropFirst(2).first ?? "--threads", window.dropFirst(3).first ?? "4")
      try mount.open().write([1, 2, 3], at: 300_000)
      for options in [["--force"], ["--force", "--compress"]] {
        let result = try await attempt(Host.cowmount, ["save"] + options + [mount.place, output])
        #expect(result.succeeded, "\(result)")
        try await expectSaved(mount)
      }
      #expect(try await information().contains("backing file: json:"))
    }

    @Test func virtualDisks() async throws {
      let image = try sandbox.image(size: 1_000_448)
      let disk = sandbox.path + "/base.qcow2"
      try await run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", image.path, disk)
      for (options, name) in [([], disk), (["--offset", "4096"], "json:")] as [([String], String)] {
        let place = try sandbox.directory("mnt")
        _ = try await control(options + ["--memory", disk, place])
        try TestFile(place + "/base.img").write([1, 2, 3], at: 300_000)
        try await save("--force", place, output)
        let same = try await attempt("qemu-img", ["compare", "-f", "raw", "-F", "qcow2", place + "/base.img", output])
        #expect(same.succeeded, "\(same)")
        let text = try await information()
        #expect(
          text.contains("backing file: \(name)") && text.contains("format: \(options.isEmpty ? "qcow2" : "raw")"),
          "\(text)")
        try await run("fusermount3", "-u", place)
      }
    }

    @Test(.needs(.program("nbdkit"), .program("xz"))) func whatCannotBeNamed() async throws {
      let image = try sandbox.image(size: 100_000)
      let packed = sandbox.path + "/disk.img.xz"
      try await shell(#"xz -c "$1" > "$2""#, image.path, packed)
      for (source, word) in [([packed], "compressed"), (["[", "nbdkit", "file", image.path, "]"], "nbdkit")] {
        let place = try sandbox.directory("mnt")
        let isCommand = source.count > 1
        _ = try await control(["--memory"] + (isCommand ? [place] + source : source + [place]))
        try await refuse(["save", place, output], naming: "backing file", word, "--full")
        try await save("--full", "--force", place, output)
        let same = try await attempt("qemu-img", ["compare", "-f", "raw", "-F", "qcow2", place + "/disk.img", output])
        #expect(same.succeeded, "\(same)")
        unlink(output)
        try await run("fusermount3", "-u", place)
      }
    }

    // MARK: Recipes

    @Test func openedAgain() async throws {
      let image = try sandbox.image(size: 1_000_000)
      let first = try await sandbox.mount(image)
      try await change(first, size: 1_000_000)
      let expected = try await shell(#"head -c 1000000 "$1" | sha256sum"#, first.file)
      try await save(first.place, output)
      try await first.unmount()
      let place = try sandbox.directory("mnt")
      _ = try await control("--format", "qcow2", "--memory", output, place)
      #expect(try await shell(#"head -c 1000000 "$1" | sha256sum"#, place + "/out.img") == expected)
      // And what is changed there is saved over it.
      try TestFile(place + "/out.img").write([9, 9], at: 500_000)
      let second = directory + "/second.qcow2"
      try await save(place, second)
      let same = try await attempt("qemu-img", ["compare", "-f", "raw", "-F", "qcow2", place + "/out.img", second])
      #expect(same.succeeded, "\(same)")
      #expect(try await run("qemu-img", "info", second).contains("backing file format: qcow2"))
      try await run("fusermount3", "-u", place)
    }

    /// There is no code here that could.
    @Test func committedIntoACopy() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let mount = try await sandbox.mount(image)
      try await change(mount, size: 1 << 20)
      try await save(mount.place, output)
      let copy = sandbox.path + "/copy.img"
      try await shell(
        #"cp "$1" "$2"; chmod u+w "$2"; qemu-img rebase -u -F raw -b "$2" "$3"; qemu-img commit -q "$3""#, image.path,
        copy, output)
      try await run("cmp", copy, mount.file)
    }

    // MARK: What is refused

    @Test func mountsThatAreNone() async throws {
      try await refuse(["save", sandbox.path, output], naming: sandbox.path, "no cowmount")
      try await refuse(["save", "/nowhere", output], naming: "/nowhere")
    }

    @Test(.needs(.root)) func places() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20, mode: 0o644))
      try mount.open().write([1], at: 0)
      _ = try Image(output, size: 10)
      try await refuse(["save", mount.place, output], naming: output, "--force")
      #expect(try status(output).st_size == 10)
      for (path, word) in [
        (mount.image.path, "the image of the mount"), (mount.place + "/x", "lies on the mount"),
        (mount.file, "lies on the mount"),
        ("/nowhere/x", "directory does not exist"), (directory, "no regular file"), ("/", "cannot be written"),
      ] {
        try await refuse(["save", "--force", mount.place, path], naming: path, word)
      }
      try await save("--force", mount.place, output)
      try await expectSaved(mount)
    }

    @Test(.needs(.root), arguments: ["tmpfs", "ext4"], [[], ["--format", "raw"], ["--compress"]])
    func fullDisk(type: String, options: [String]) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 16 << 20))
      try mount.open().write(Pattern(seed: 9).bytes(8 << 20), at: 0)
      let small = try await sandbox.smallFileSystem(type, size: "4M")
      try await refuse(
        ["save"] + options + [mount.place, small + "/out"], naming: small + "/out", "No space left", "nothing was saved"
      )
      #expect(try entries(small) == [], "a part is left")
    }

    // MARK: Checkpoints

    @Test(arguments: [[], ["--full"], ["--compress"], ["--format", "raw"]]) func checkpoints(options: [String])
      async throws
    {
      let mount = try await sandbox.mount(sandbox.image(size: 1_000_448))
      try await change(mount, size: 1_000_448)
      _ = try await control("checkpoint", mount.place, "one")
      // What comes after it is not saved, a change of the size included.
      let file = try mount.open()
      try file.write(Pattern(seed: 9).bytes(300_000), at: 50_000)
      try file.resize(2 << 20)
      for place in [mount.place, mount.file] {
        // Somebody writes, and nobody minds.
        let result = try await attempt(Host.cowmount, ["save", "--force"] + options + [place + "@one", output])
        #expect(result.succeeded && result.errors.isEmpty, "\(result)")
        try await expectSaved(mount, state: "@one", format: options.last == "raw" ? "raw" : "qcow2")
      }
      file.close()
      // Nor is what differs from the image now.
      _ = try await control("reset", mount.place)
      try await save(["--force"] + options + [mount.place + "@one", output])
      try await expectSaved(mount, state: "@one", format: options.last == "raw" ? "raw" : "qcow2")
      try await refuse(["save", mount.place + "@two", directory + "/2"], naming: mount.place, "no checkpoint")
    }

    /// There is no directory that has the checkpoint's file.
    @Test func mountpointsThatAreFiles() async throws {
      let place = try sandbox.directory("place") + "/file"
      try TestFile(place, O_RDWR | O_CREAT).close()
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20), at: place)
      try await change(mount, size: 1 << 20)
      _ = try await control("checkpoint", place, "one")
      try await save(place, output)
      try await expectSaved(mount)
      try await refuse(["save", "--force", place + "@one", output], naming: place, "directory")
      let file = try mount.open()
      try await refuse(
        ["save", "--force", place, output], naming: mount.file, "open for writing", "process \(getpid())")
      file.close()
    }

    /// What is saved is one moment all the same, and it is said what that means.
    @Test(.needs(.root)) func openForWriting() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      let file = try mount.open()
      try file.write([7, 7, 7], at: 1000)
      let result = try await attempt(Host.cowmount, ["save", mount.place, output])
      expectOneLine(
        result, naming: [mount.file, "open for writing", "process \(getpid())", "power cut", "fsfreeze"], status: 0)
      try await expectSaved(mount)
      #expect(try entries(mount.place) == ["disk.img"], "its checkpoint stays")
      file.close()
      let device = try await sandbox.loopDevice(mount.file)
      expectOneLine(
        try await attempt(Host.cowmount, ["save", "--force", mount.place, output]), naming: [mount.file, device],
        status: 0)
      try await sandbox.detach(device)
      // Readers change nothing.
      let reader = try mount.open(O_RDONLY)
      let quiet = try await attempt(Host.cowmount, ["save", "--force", mount.place, output])
      #expect(quiet.succeeded && quiet.errors.isEmpty, "\(quiet)")
      reader.close()
      try await expectSaved(mount)
    }

    /// While it is saved from its own checkpoint, everybody writes on; the checkpoint goes, however that ends.
    @Test(.needs(.root), arguments: [0, SIGTERM]) func writtenUnderACheckpoint(signal: CInt) async throws {
      let mount = try await changed()
      let file = try mount.open()
      let before = sandbox.path + "/before"
      try await run("cp", mount.file, before)
      let result = try await whileSaving(mount) { saver in
        #expect(try entries(mount.place).contains { $0.hasPrefix("disk.img@save-") })
        try file.write(Pattern(seed: 8).bytes(100_000), at: 5000)
        if signal != 0 { kill(saver, signal) }
      }
      file.close()
      #expect(try entries(mount.place) == ["disk.img"], "its checkpoint stays")
      #expect(result.status == (signal == 0 ? 0 : 128 + signal), "\(result)")
      guard signal == 0 else { return #expect(try entries(directory) == []) }
      try await run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", before, output)
    }

    /// Somebody begins to write while it is saved: that is not delayed, and nothing is saved.
    @Test func writtenMeanwhile() async throws {
      let mount = try await changed()
      let result = try await whileSaving(mount) { _ in
        let begun = ContinuousClock.now
        try mount.open().close()
        #expect(ContinuousClock.now - begun < .seconds(20), "it waited for the save")
      }
      expectOneLine(result, naming: [mount.file, "while it was saved", "nothing was saved"])
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGHUP]) func interrupted(signal: CInt) async throws {
      let result = try await whileSaving(changed()) { kill($0, signal) }
      #expect(result.status == 128 + signal, "\(result)")
      #expect(result.errors == "cowmount: interrupted; nothing was saved\n", "\(result)")
    }

    @Test func killed() async throws {
      let result = try await whileSaving(changed()) { kill($0, SIGKILL) }
      #expect(result.status == 128 + SIGKILL && result.errors.isEmpty, "\(result)")
    }

    @Test func theMountEnds() async throws {
      let mount = try await changed()
      let result = try await whileSaving(mount) { _ in mount.daemon.killAll() }
      expectOneLine(result, naming: [mount.place, "nothing was saved"])
    }
  }
}
