// Somebody who is not root mounts through fusermount3.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.root, .program("setpriv"), .program("fusermount3"))) struct OrdinaryUser {
    /// Directories and a binary that an ordinary user can use.
    private struct Place {
      let home: String
      let cowmount: String
      let mountpoint: String
      let overlays: String

      init() async throws {
        home = try sandbox.directory("home")
        cowmount = home + "/cowmount"
        mountpoint = home + "/mnt"
        overlays = home + "/tmp"
        try await run("cp", Host.cowmount, cowmount)
        for directory in [mountpoint, overlays] {
          mkdir(directory, 0o755)
          chown(directory, 65534, 65534)
        }
      }

      func mount(_ image: String, _ options: String...) async throws -> CommandResult {
        try await attempt("setpriv", nobody + [cowmount, "--overlay-dir", overlays] + options + [image, mountpoint])
      }

      func expectGone() async throws {
        #expect(try await eventually { Daemon.find(mentioning: self.mountpoint).allSatisfy { !$0.isAlive } })
        #expect(try MountEntry.at(mountpoint) == nil)
        #expect(try entries(overlays) == [])
      }
    }

    private func asUser(_ script: String, _ arguments: String...) async throws -> CommandResult {
      try await attempt("setpriv", nobody + ["sh", "-euc", script, "sh"] + arguments)
    }

    @Test func mountWriteUnmount() async throws {
      try await withDeviceForEverybody {
        let place = try await Place()
        let image = try sandbox.image(size: 130_000)
        let before = try await Fingerprint(of: image.path)
        let begun = try await place.mount(image.path)
        #expect(begun.succeeded, "\(begun)")
        let file = place.mountpoint + "/disk.img"
        let entry = try #require(try MountEntry.at(place.mountpoint))
        #expect(entry.type == "fuse.cowmount" && entry.source == image.path)

        let script = #"""
          test "$(stat -c '%u %g %s' "$1")" = '65534 65534 130000'
          test -w "$1"
          cmp "$1" "$2"
          printf hello | dd of="$1" bs=1 seek=4094 conv=notrunc,fsync 2>&1
          test "$(tail -c +4095 "$1" | head -c 5)" = hello
          truncate -s 1M "$1"
          fallocate -p -o 0 -l 8192 "$1"
          cmp -n 8192 "$1" /dev/zero
          fusermount3 -u "$3"
          """#
        let work = try await asUser(script, file, image.path, place.mountpoint)
        #expect(work.succeeded, "\(work)")
        try await place.expectGone()
        #expect(try await Fingerprint(of: image.path) == before)
      }
    }

    /// The file is the user's; others would get what everybody may do with the image.
    @Test(
      arguments: [
        (0o444, 0, "644"), (0o604, 0, "600"), (0o644, 65534, "644"), (0o640, 65534, "640"), (0o466, 65534, "666"),
      ] as [(mode: mode_t, group: gid_t, expected: String)])
    func modes(mode: mode_t, group: gid_t, expected: String) async throws {
      try await withDeviceForEverybody {
        let place = try await Place()
        let image = try sandbox.image(size: 1000, mode: mode)
        chown(image.path, 0, group)
        #expect(try await place.mount(image.path).succeeded)
        let shown = try await asUser(
          #"stat -c '%a %u %g' "$1/disk.img"; fusermount3 -u "$1""#, place.mountpoint)
        #expect(shown.output == "\(expected) 65534 65534\n", "\(shown)")
        try await place.expectGone()
      }
    }

    @Test(arguments: [SIGTERM, SIGHUP])
    func signals(signal: CInt) async throws {
      try await withDeviceForEverybody {
        let place = try await Place()
        let begun = try await place.mount(sandbox.image(size: 1000).path)
        #expect(begun.succeeded, "\(begun)")
        kill(try #require(Daemon.find(mentioning: place.mountpoint).first).pid, signal)
        try await place.expectGone()
      }
    }

    @Test func deadMountIsCleared() async throws {
      try await withDeviceForEverybody {
        let place = try await Place()
        let image = try sandbox.image(size: 1000).path
        #expect(try await place.mount(image).succeeded)
        try #require(Daemon.find(mentioning: place.mountpoint).first).killAll()
        try await Task.sleep(for: .milliseconds(200))
        let again = try await place.mount(image)
        #expect(again.succeeded && again.errors.contains("dead mount"), "\(again)")
        let ended = try await asUser(#"fusermount3 -u "$1""#, place.mountpoint)
        #expect(ended.succeeded, "\(ended)")
        try await place.expectGone()
      }
    }

    @Test func unreadableImage() async throws {
      try await withDeviceForEverybody {
        let place = try await Place()
        let image = try sandbox.image(size: 1000, mode: 0o600)
        expectOneLine(try await place.mount(image.path), naming: [image.path])
        try await place.expectGone()
      }
    }

    @Test func foreignMountpoint() async throws {
      try await withDeviceForEverybody {
        let place = try await Place()
        chown(place.mountpoint, 0, 0)
        let image = try sandbox.image(size: 1000)
        expectOneLine(try await place.mount(image.path), naming: [place.mountpoint])
        try await place.expectGone()
      }
    }

    @Test func foreignOverlayDirectory() async throws {
      try await withDeviceForEverybody {
        let place = try await Place()
        chown(place.overlays, 0, 0)
        let image = try sandbox.image(size: 1000)
        expectOneLine(try await place.mount(image.path), naming: [place.overlays])
        try await place.expectGone()
      }
    }

    @Test func deviceForRootOnly() async throws {
      let mode = try status("/dev/fuse").st_mode & 0o7777
      chmod("/dev/fuse", 0o600)
      defer { chmod("/dev/fuse", mode) }
      let place = try await Place()
      let image = try sandbox.image(size: 1000)
      expectOneLine(try await place.mount(image.path), naming: ["/dev/fuse"])
      try await place.expectGone()
    }
  }
}
