// The list of mounts: what it says of each, who uses it, and that none can keep it from ending.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.program("jq"))) struct List {
    /// The entry of a mount in the list.
    private func entry(_ place: String, _ path: String) async throws -> String {
      try await member(".[] | select(.mountpoints[0] == \"\(place)\") | \(path)", of: control("list", "--json"))
    }

    @Test func whatIsThere() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let first = try await sandbox.mount(image, "--max-overlay", "1M", "--offset=4k")
      let second = try await sandbox.mount(sandbox.image("b c.img", size: 5000), "--read-only")
      try first.open().write([1], at: 0)
      try await run("sync", first.file)
      #expect(
        try await entry(first.place, "[.image, .offset, .length, .size]") == "[\"\(image.path)\",4096,1044480,1044480]")
      #expect(
        try await entry(first.place, "[.written, .limit, .overlay, .pid]")
          == "[4096,1048576,\"\(first.overlays)\",\(first.daemon.pid)]")
      #expect(try await entry(first.place, "[.failure, .warnings, .users]") == "[null,[],[]]")
      #expect(try await entry(second.place, "[.image, .offset, .limit]") == "[\"\(second.image.path)\",null,null]")
      let lines = try await control("list").split(separator: "\n")
      #expect(lines.first?.split(separator: " ").first == "MOUNTPOINT")
      #expect(lines.contains { $0.hasPrefix(first.place + " ") && $0.contains(" ok ") && $0.contains("4 KiB") })
      #expect(lines.contains { $0.contains("b c.img") })
    }

    @Test(.needs(.root)) func boundElsewhere() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1000))
      let other = try sandbox.directory("bound")
      try await sandbox.mountOther("--bind", mount.place, at: other)
      #expect(try await entry(mount.place, ".mountpoints") == "[\"\(mount.place)\",\"\(other)\"]")
    }

    // MARK: Users

    /// Who has the file open, or its directory as the current one.
    @Test func processes() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      for use in [#"exec 3<"$1"; echo; exec sleep 100"#, #"cd "${1%/*}"; echo; exec sleep 100"#] {
        let user = try Background("sh", "-c", use, "sh", mount.file)
        #expect(try await entry(mount.place, "[.users[].pid]") == "[\(user.pid)]", "\(use)")
        #expect(try await entry(mount.place, "[.users[].name]").contains(user.name), "\(use)")
        try user.end()
        #expect(try await entry(mount.place, ".users") == "[]", "\(use)")
      }
    }

    /// A mapping outlives the descriptor that it was made by.
    @Test func mapping() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      let file = try mount.open()
      let mapping = try Mapping(file, count: 4096, flags: MAP_SHARED)
      file.close()
      #expect(try await entry(mount.place, "[.users[].pid]") == "[\(getpid())]")
      withExtendedLifetime(mapping) {}
    }

    @Test(.needs(.root, .program("losetup"), .program("mkfs.ext4"))) func loopDevices() async throws {
      let image = try sandbox.image(size: 16 << 20, data: [], mode: 0o644)
      try await run("mkfs.ext4", "-q", "-F", image.path)
      let mount = try await sandbox.mount(image)
      let device = try await sandbox.loopDevice(mount.file)
      #expect(try await entry(mount.place, ".users") == #"[{"loop":"\#(device)","mountpoints":[],"holders":[]}]"#)
      let place = try sandbox.directory("disk")
      try await sandbox.mountOther(device, at: place)
      #expect(try await entry(mount.place, "[.users[] | .loop, .mountpoints]") == #"["\#(device)",["\#(place)"]]"#)
      #expect(try await control("list").contains("\(device) (mounted at \(place))"))
      try await run("umount", place)
    }

    // MARK: What is wrong

    @Test func deadMount() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1000))
      let other = try await sandbox.mount(sandbox.image(size: 1000))
      try await mount.murder()
      #expect(try await entry(mount.place, "[.failure, .size]") == #"["dead: its process was killed",null]"#)
      #expect(try await entry(other.place, ".failure") == "null")
      #expect(try await control("list").contains("dead: its process was killed"))
    }

    /// One that hangs, even with somebody who waits for it, does not keep the list from its end, nor from the others.
    @Test func mountThatHangs() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      let other = try await sandbox.mount(sandbox.image(size: 1000))
      let server = mount.daemon.server.pid
      kill(server, SIGSTOP)
      defer { kill(server, SIGCONT) }
      #expect(try await entry(mount.place, "[.failure, .image]") == "[\"does not answer\",\"\(mount.image.path)\"]")
      #expect(try await entry(other.place, ".failure") == "null")
      kill(server, SIGCONT)
      #expect(try await entry(mount.place, ".failure") == "null")
    }

    @Test(.needs(.root)) func coveredMount() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1000))
      try await sandbox.mountOther("-t", "tmpfs", "none", at: mount.place)
      #expect(try await entry(mount.place, ".failure") == "\"something else is mounted over it\"")
    }
  }
}
