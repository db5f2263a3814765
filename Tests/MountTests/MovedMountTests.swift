// Paths that do not stay what they are: a mount is known by its number and taken down wherever it is now, and root's mount
// cannot be sent elsewhere by whoever owns a directory on the way.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite(.needs(.root)) struct MovedMounts {
    /// A foreground mount below a directory of its own.
    private func begin(_ image: Image, staying: Bool = true) async throws -> (mount: Mount, parent: String) {
      let parent = try sandbox.directory("parent")
      mkdir(parent + "/mnt", 0o755)
      return (try await sandbox.mount(image, at: parent + "/mnt", staying: staying), parent)
    }

    @Test func parentIsRenamed() async throws {
      let (mount, parent) = try await begin(sandbox.image(size: 4096))
      rename(parent, parent + ".moved")
      #expect(try MountEntry.at(parent + ".moved/mnt") != nil)
      kill(mount.daemon.pid, SIGTERM)
      let result = try #require(try await mount.expectGone())
      #expect(result.status == 0, "\(result)")
      #expect(try MountEntry.at(parent + ".moved/mnt") == nil)
    }

    @Test func parentIsCovered() async throws {
      let (mount, parent) = try await begin(sandbox.image(size: 4096))
      try await run("mount", "-t", "tmpfs", "none", parent)
      kill(mount.daemon.pid, SIGTERM)
      let result = try #require(try await mount.expectGone())
      #expect(result.status == 0, "\(result)")
      try await run("umount", parent)
      #expect(try entries(parent + "/mnt") == [])
    }

    /// Nobody can get at what something else is mounted on. That is told, and the other mount stays.
    @Test func theMountIsCovered() async throws {
      let (mount, parent) = try await begin(sandbox.image(size: 4096))
      try await run("mount", "-t", "tmpfs", "none", parent + "/mnt")
      kill(mount.daemon.pid, SIGTERM)
      let result = try #require(try await mount.expectEnd())
      #expect(result.status == 1, "\(result)")
      #expect(result.errors.contains("cannot be detached") && result.errors.contains(parent + "/mnt"), "\(result)")
      #expect(
        try MountEntry.all().filter { $0.mountpoint == parent + "/mnt" }.map(\.type) == ["fuse.cowmount", "tmpfs"])
      try await run("umount", parent + "/mnt")
      await sandbox.forceUnmount(parent + "/mnt")
    }

    /// In a mount namespace of its own, the mount goes along where somebody outside renames its directory.
    @Test(.needs(.program("unshare"), .program("nsenter"))) func renamedFromOutside() async throws {
      let parent = try sandbox.directory("parent")
      let (place, image, overlays) = (parent + "/mnt", try sandbox.image(size: 4096), try sandbox.directory("overlay"))
      mkdir(place, 0o755)
      let arguments = ["--mount", Host.cowmount, "--foreground", "--overlay-dir", overlays, image.path, place]
      let running = Task { try await attempt("unshare", arguments) }
      func mounts(_ keeper: Daemon) throws -> String { try readText("/proc/\(keeper.pid)/mountinfo") }
      #expect(try await eventually { Daemon.find(mentioning: place).first.map { $0.family.count == 3 } ?? false })
      let keeper = try #require(Daemon.find(mentioning: place).first)
      let inside = "/proc/\(keeper.pid)/root"
      #expect(try await eventually { access(inside + place + "/disk.img", F_OK) == 0 })
      try TestFile.check(rename(place, place + ".moved"))
      // Somebody else in the namespace still has it.
      let witness = Task { try await attempt("nsenter", ["--mount=/proc/\(keeper.pid)/ns/mnt", "sleep", "1000"]) }
      func sleeper() throws -> pid_t? {
        let all = try entries("/proc").compactMap { pid_t($0) }
        return all.first { (try? readText("/proc/\($0)/cmdline")) == "sleep\u{0}1000\u{0}" && isIn($0) }
      }
      func isIn(_ pid: pid_t) -> Bool { (try? mounts(Daemon(pid: pid)))?.contains(place + ".moved") ?? false }
      #expect(try await eventually { try sleeper() != nil })
      let other = try #require(try sleeper())
      kill(keeper.pid, SIGTERM)
      let result = try await running.value
      #expect(result.succeeded && result.errors.isEmpty, "\(result)")
      #expect(try !mounts(Daemon(pid: other)).contains(place + ".moved"))
      kill(other, SIGKILL)
      _ = try await witness.value
    }

    // MARK: Attacks

    /// A symbolic link in a directory of somebody else is not followed as root, nor one that somebody else made.
    @Test(arguments: [true, false])
    func foreignLink(ownsDirectory: Bool) async throws {
      let image = try sandbox.image(size: 4096)
      let (home, target) = (try sandbox.directory("home"), try sandbox.directory("target"))
      mkdir(home + "/sub", 0o755)
      symlink(target, home + "/link")
      if ownsDirectory { chown(home, 65534, 65534) } else { lchown(home + "/link", 65534, 65534) }
      try await expectRefusal([image.path, home + "/link"], naming: home + "/link", "symbolic link", status: 1)
      mkdir(target + "/deep", 0o755)
      try await expectRefusal([image.path, home + "/link/deep"], naming: home + "/link", "symbolic link", status: 1)
      // Without a link, such a directory is as good as any.
      let mount = try await sandbox.mount(image, at: home + "/sub")
      #expect(try entries(mount.place) == ["disk.img"])
    }

    /// Whoever called sudo is trusted with the own links.
    @Test func linkOfTheCaller() async throws {
      let image = try sandbox.image(size: 4096)
      let (home, target, overlays) = (
        try sandbox.directory("home"), try sandbox.directory("target"), try sandbox.directory("overlay")
      )
      symlink(target, home + "/link")
      chown(home, 65534, 65534)
      lchown(home + "/link", 65534, 65534)
      let result = try await attempt(
        Host.cowmount, ["--overlay-dir", overlays, image.path, home + "/link"], variables: ["SUDO_UID": "65534"])
      #expect(result.succeeded, "\(result)")
      #expect(try MountEntry.at(target)?.type == "fuse.cowmount")
      try await run("umount", target)
    }

    /// Somebody who owns the directory swaps the file that is mounted on for a link to another; root truncated that.
    @Test func aFileThatIsSwapped() async throws {
      let victim = try sandbox.directory("victim") + "/victim"
      try TestFile(victim, O_RDWR | O_CREAT).write(Pattern().bytes(50_000), at: 0)
      let before = try await Fingerprint(of: victim)
      let home = try sandbox.directory("home")
      let image = try sandbox.image(size: 10_000, mode: 0o644)
      let script = #"""
        cd "$1"; i=0
        while [ ! -e stop ]; do
          i=$((i + 1))
          mkdir -p "a$i"; : > "a$i/file"; mkdir "b$i"; ln -s "$2" "b$i/file"
          mv -T "a$i" dir 2>/dev/null; mv -T dir "c$i" 2>/dev/null; mv -T "b$i" dir 2>/dev/null; mv -T dir "d$i" 2>/dev/null
        done
        """#
      chown(home, 65534, 65534)
      let attacker = Task { try await attempt("setpriv", nobody + ["sh", "-c", script, "sh", home, victim]) }
      for _ in 0..<30 {
        // Mostly there is no such place; what matters is what becomes of the victim.
        _ = try await attempt(Host.cowmount, [image.path, home + "/dir/file"])
        for entry in try MountEntry.under(home) { await sandbox.forceUnmount(entry.mountpoint) }
      }
      try TestFile.check(mkdir(home + "/stop", 0o755))
      _ = try await attacker.value
      for entry in try MountEntry.under(home) { await sandbox.forceUnmount(entry.mountpoint) }
      #expect(try MountEntry.at(victim) == nil)
      #expect(try await Fingerprint(of: victim) == before, "another file was changed")
      #expect(try await eventually { Daemon.processes(mentioning: home).allSatisfy { !$0.isAlive } })
    }
  }
}
