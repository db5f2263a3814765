// Asking a mount from another process: what it is, what was changed, who may ask, and what is told of things that are no
// mount.

import CLinux
import Glibc
import Testing

/// Runs a command about a mount, and gives what it prints.
func control(_ arguments: String...) async throws -> String { try await control(arguments) }

func control(_ arguments: [String]) async throws -> String {
  let result = try await attempt(Host.cowmount, arguments)
  guard result.succeeded else { throw CommandFailure(result: result) }
  #expect(result.errors.isEmpty, "\(result)")
  return result.output
}

/// A member of an answer in JSON, as jq finds it.
func member(_ path: String, of json: String) async throws -> String {
  let file = try sandbox.directory("json") + "/answer"
  try TestFile(file, O_RDWR | O_CREAT).write(Array(json.utf8), at: 0)
  return String(try await run("jq", "-c", path, file).dropLast())
}

/// Ordinary users' arguments for setpriv.
private let stranger = ["--reuid=65533", "--regid=65533", "--clear-groups"]

extension Mounted {
  @Suite(.needs(.program("jq"))) struct Control {
    @Test(arguments: ["directory", "file"])
    func status(kind: String) async throws {
      let place = try sandbox.directory("mnt")
      if kind == "file" { try TestFile(place + "/file", O_RDWR | O_CREAT).close() }
      let image = try sandbox.image(size: 130_001)
      let mount = try await sandbox.mount(
        image, "--max-overlay", "1M", "--threads", "3", at: kind == "file" ? place + "/file" : place)
      let file = try mount.open()
      try file.write([UInt8](repeating: 1, count: 5000), at: 0)
      try file.sync()
      for argument in [mount.place, mount.file] {
        let json = try await control("status", "--json", argument)
        let expected = [
          (".mountpoint, .file", "\"\(mount.place)\"\n\"\(mount.file)\""), (".pid", "\(mount.daemon.pid)"),
          (".size, .readOnly, .threads", "130001\nfalse\n3"), (".base.image", "\"\(image.path)\""),
          (".base.format, .base.size, .base.lock", "\"raw\"\n130001\n\"held\""),
          (".base.offset, .base.length, .base.partition", "0\n130001\nnull"),
          (".overlay.directory", "\"\(mount.overlays)\""), (".overlay.written, .overlay.limit", "8192\n1048576"),
          (".overlay.left", "\((1 << 20) - 8192)"), (".errors, .lastError, .warnings", "0\nnull\n[]"),
        ]
        for (path, value) in expected { #expect(try await member(path, of: json) == value, "\(path) of \(json)") }
        let text = try await control("status", argument)
        #expect(text.hasPrefix("\(mount.file): 130001 bytes") && text.contains("process   \(mount.daemon.pid),"))
      }
    }

    /// Counted by the workers, each for itself, and added up.
    @Test func requestsAreCounted() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 8 << 20), "--threads", "2")
      let file = try mount.open(O_RDWR | O_DIRECT)
      for index in 0..<20 { _ = try file.read(4096, at: index << 16) }
      for index in 0..<10 { try file.write([UInt8](repeating: 1, count: 8192), at: index << 16) }
      try file.allocate(.punchHole, 0..<4096)
      let json = try await control("status", "--json", mount.place)
      #expect(try await member(".requests.read.count, .requests.read.bytes", of: json) == "20\n81920")
      #expect(try await member(".requests.write.count, .requests.write.bytes", of: json) == "10\n81920")
      #expect(try await member(".requests.allocate.count, .requests.allocate.bytes", of: json) == "1\n4096")
      #expect(try await member(".requests.control.count", of: json) == "1")
      #expect(try await member(".base.reads", of: json) == "20")
    }

    @Test func partsAndLocks() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let mount = try await sandbox.mount(
        image, "--offset=4k", "--length=64k", "--size=1M", "--force-share", "--read-only")
      let json = try await control("status", "--json", mount.place)
      #expect(try await member(".base.offset, .base.length, .size", of: json) == "4096\n65536\n1048576")
      #expect(try await member(".base.lock, .readOnly, .overlay.limit", of: json) == "\"shared\"\ntrue\nnull")
      let text = try await control("status", mount.place)
      #expect(text.contains("\(image.path) bytes 4096 to 69632"))
    }

    @Test func errorsAndWarnings() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20), "--max-overlay", "40k")
      let file = try mount.open(O_RDWR | O_DIRECT)
      for index in 0..<10 { try file.write([UInt8](repeating: 1, count: 4096), at: index << 12) }
      #expect(throws: (any Error).self) { try file.write([UInt8](repeating: 1, count: 4096), at: 1 << 19) }
      let json = try await control("status", "--json", mount.place)
      #expect(try await member(".errors", of: json) == "1")
      #expect(try await member(".lastError", of: json).contains("write of 4096 bytes at 524288 failed"))
      #expect(try await member(".warnings", of: json) == #"["the overlay has used 95 % of its space"]"#)
    }

    /// A mount that nobody asks has no thread for that, and one that was asked goes on.
    @Test func theDeskIsOpenedByTheFirstRequest() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      func threads() throws -> Int { try entries("/proc/\(mount.daemon.server.pid)/task").count }
      let before = try threads()
      for _ in 0..<3 { _ = try await control("status", mount.place) }
      #expect(try threads() == before + 1)
      try expectBase(mount.open(), 0..<1 << 20)
    }

    // MARK: Changes

    @Test func changes() async throws {
      let image = try sandbox.image(size: 10 << 20)
      let mount = try await sandbox.mount(image)
      #expect(
        try await control("changes", mount.place)
          == "0 bytes (0 B) in 0 runs written, 0 bytes (0 B) in 0 runs zeroed\n")
      let file = try mount.open()
      // Not synced: the command has the kernel write it back.
      try file.write([UInt8](repeating: 1, count: 8192), at: 1 << 20)
      try file.allocate(.punchHole, 4 << 20..<5 << 20)
      try file.resize(6 << 20)
      try file.resize(12 << 20)
      let json = try await control("changes", "--json", mount.file)
      #expect(
        try await member(".changes", of: json) == """
          [{"offset":1048576,"length":8192,"change":"written"},{"offset":4194304,"length":1048576,"change":"zeroed"},\
          {"offset":6291456,"length":4194304,"change":"zeroed"}]
          """)
      #expect(try await member(".written, .zeroed", of: json) == "8192\n5242880")
      let lines = try await control("changes", mount.place).split(separator: "\n")
      try #require(lines.count == 5)
      #expect(lines[1].split(separator: " ") == ["1048576", "8192", "written"])
      #expect(lines[4] == "8192 bytes (8 KiB) in 1 run written, 5242880 bytes (5 MiB) in 2 runs zeroed")
    }

    /// More than one answer has room for.
    @Test func manyChanges() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 32 << 20))
      let file = try mount.open()
      for index in 0..<2500 { try file.write([7], at: index * 8192) }
      let json = try await control("changes", "--json", mount.place)
      #expect(try await member(".changes | length, .[2499].offset", of: json) == "2500\n\(2499 * 8192)")
      #expect(try await member(".written", of: json) == "\(2500 * 4096)")
    }

    @Test func changesOfAHugeDisk() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4096, data: []), "--size", "15T")
      try mount.open().write([7], at: 14 << 40)
      let json = try await control("changes", "--json", mount.place)
      #expect(try await member(".changes", of: json) == #"[{"offset":\#(14 << 40),"length":4096,"change":"written"}]"#)
    }

    @Test(.needs(.program("sfdisk"))) func changesByPartition() async throws {
      let image = try sandbox.image(size: 16 << 20, data: [], mode: 0o644)
      try await shell(
        #"printf 'label: gpt\nstart=2048,size=4096\nstart=8192,size=8192,name=root\n' | sfdisk -q "$1""#, image.path)
      let mount = try await sandbox.mount(image)
      let file = try mount.open()
      try file.write([UInt8](repeating: 1, count: 4096), at: 1 << 20)
      try file.write([UInt8](repeating: 1, count: 12288), at: (4 << 20) - 4096)
      let json = try await control("changes", "--partitions", "--json", mount.place)
      #expect(
        try await member("[.partitions[] | [.number, .start, .written, .zeroed]]", of: json)
          == "[[1,1048576,4096,0],[2,4194304,8192,0],[null,null,4096,0]]")
      let text = try await control("changes", "--partitions", mount.place)
      #expect(text.contains("root\n") && text.contains("outside of partitions"))
    }

    @Test func changesByPartitionWithoutATable() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      try await expectUnasked(["changes", "--partitions", mount.place], naming: mount.file, "no partition table")
    }

    // MARK: Answers for programs

    /// The manual page names every member, in the section of its command.
    @Test func membersAreInTheManual() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      try mount.open().write([7], at: 0)
      let user = try Background("sh", "-c", #"exec 3<"$1"; echo; exec sleep 100"#, "sh", mount.file)
      let manual = try readText(
        String(#filePath.dropLast("Tests/MountTests/ControlTests.swift".count)) + "man/cowmount.1")
      for arguments in [["list"], ["status", mount.place], ["changes", mount.place]] {
        let result = try await attempt(Host.cowmount, arguments + ["--json"])
        let names = try await member("[paths[] | strings] | unique | .[]", of: result.output).split(separator: "\n")
        #expect(names.count > 4)
        let section = manual.split(separator: "\n").drop { $0 != ".Ss cowmount \(arguments[0])" }.dropFirst()
        let named = section.prefix { !$0.hasPrefix(".S") }.filter { $0.hasPrefix(".Va ") || $0.hasPrefix(".It Va ") }
        let words = Set(named.flatMap { $0.split(separator: " ") })
        for name in names { #expect(words.contains(name.dropFirst().dropLast()), "\(arguments[0]): \(name)") }
      }
      try user.end()
    }

    // MARK: What is no mount

    private func expectUnasked(
      _ arguments: [String], naming words: String..., by program: [String] = [],
      sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      let command = program + [Host.cowmount] + arguments
      let result = try await attempt(command[0], Array(command.dropFirst()))
      expectOneLine(result, naming: words, status: 1, sourceLocation: sourceLocation)
      #expect(result.output.isEmpty, "\(result)", sourceLocation: sourceLocation)
    }

    @Test(arguments: ["status", "changes"])
    func noMount(command: String) async throws {
      let directory = try sandbox.directory("plain")
      try TestFile(directory + "/file", O_RDWR | O_CREAT).close()
      symlink("nowhere", directory + "/link")
      try await expectUnasked([command, directory], naming: directory, "is no cowmount")
      try await expectUnasked([command, directory + "/file"], naming: directory + "/file", "is no cowmount")
      try await expectUnasked([command, "/"], naming: "/ is no cowmount")
      try await expectUnasked([command, "/proc/self"], naming: "is no cowmount")
      try await expectUnasked([command, directory + "/none"], naming: directory + "/none", "does not exist")
      try await expectUnasked([command, directory + "/link"], naming: directory + "/link", "does not exist")
    }

    /// One whose processes were killed all at once.
    @Test(arguments: ["status", "changes"])
    func deadMount(command: String) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      try await mount.murder()
      try await expectUnasked([command, mount.place], naming: mount.place, "dead", "umount")
      try await expectUnasked([command, mount.file], naming: mount.place, "dead", "umount")
    }

    /// One whose processes are killed while somebody waits for the answer, or just before.
    @Test(arguments: ["status", "changes"])
    func mountThatEndsMeanwhile(command: String) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      kill(mount.daemon.server.pid, SIGSTOP)
      let asker = Task { try await attempt(Host.cowmount, [command, mount.place]) }
      try await Task.sleep(for: .milliseconds(200))
      try await mount.murder()
      expectOneLine(try await asker.value, naming: [mount.place], status: 1)
    }

    /// Who may not read the file may not ask.
    @Test(.needs(.root, .program("setpriv"))) func strangers() async throws {
      let image = try sandbox.image(size: 1000, mode: 0o600)
      let mount = try await sandbox.mount(image)
      let home = try sandbox.directory("home")
      try await run("cp", Host.cowmount, home + "/cowmount")
      func asStranger(_ arguments: String...) async throws -> CommandResult {
        try await attempt("setpriv", stranger + [home + "/cowmount"] + arguments)
      }
      expectOneLine(try await asStranger("status", mount.place), naming: [mount.place, "may not be read"], status: 1)
      expectOneLine(try await asStranger("changes", mount.file), naming: [mount.file, "may not be read"], status: 1)
      chmod(mount.file, 0o644)
      let result = try await asStranger("status", mount.place)
      #expect(result.succeeded, "\(result)")
    }

    // MARK: What anybody may send

    /// Bytes that are no request, and numbers that are no request's.
    @Test func nonsenseIsRefused() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1000))
      let file = try mount.open(O_RDONLY)
      var bytes = [UInt8](repeating: 0xA5, count: Int(CLINUX_CONTROL_BYTES))
      #expect(clinux_control(file.descriptor, &bytes) == 0)
      #expect(bytes.starts(with: Array("cowm say".utf8) + [1, 0, 0, 0, 5, 0, 0, 0]), "not understood")
      bytes =
        Array("cowm ask".utf8) + [99, 0, 0, 0, 1, 0, 0, 0]
        + [UInt8](repeating: 0, count: Int(CLINUX_CONTROL_BYTES) - 16)
      #expect(clinux_control(file.descriptor, &bytes) == 0)
      #expect(bytes.starts(with: Array("cowm say".utf8) + [1, 0, 0, 0, 4, 0, 0, 0]), "another version")
      let writer = try mount.open(O_WRONLY)
      bytes =
        Array("cowm ask".utf8) + [1, 0, 0, 0, 1, 0, 0, 0] + [UInt8](repeating: 0, count: Int(CLINUX_CONTROL_BYTES) - 16)
      #expect(clinux_control(writer.descriptor, &bytes) == -1 && errno == EBADF, "who may only write may not look")
      var size: UInt64 = 0
      #expect(clinux_block_device_size(file.descriptor, &size) == -1 && errno == ENOTTY, "another request")
      _ = try await control("status", mount.place)
    }
  }
}
