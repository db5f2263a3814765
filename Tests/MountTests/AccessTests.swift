// Who gets in, and what the process keeps: the kernel's check of owner and mode, an overlay that nobody can name, open or
// redirect, and a process without what serving does not need.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite(.needs(.root)) struct Access {
    // MARK: The mount

    /// A mount of an ordinary user, in a mount namespace where everybody may open /dev/fuse, as is usual: the user gets in,
    /// and nobody else does, not even root.
    @Test(.needs(.program("unshare"), .program("setpriv"), .program("fusermount3"), .program("mknod")))
    func nobodyElseWithoutAllowOther() async throws {
      let home = try sandbox.directory("home")
      try await run("cp", Host.cowmount, home + "/cowmount")
      for name in ["/mnt", "/overlay"] {
        mkdir(home + name, 0o755)
        chown(home + name, 65534, 65534)
      }
      let image = try sandbox.image(size: 4096, mode: 0o644)
      let script = #"""
        home=$1 image=$2
        mknod "$home/fuse" c 10 229
        chmod 0666 "$home/fuse"
        mount --bind "$home/fuse" /dev/fuse
        as() { user=$1; shift; setpriv --reuid="$user" --regid="$user" --clear-groups -- "$@"; }
        as 65534 "$home/cowmount" --overlay-dir "$home/overlay" "$image" "$home/mnt"
        as 65534 cmp "$home/mnt/disk.img" "$image"
        as 65534 truncate -s 5000 "$home/mnt/disk.img"
        for user in 0 65533; do
          for path in "$home/mnt" "$home/mnt/disk.img"; do
            if as "$user" cat "$path" 2>&1 >/dev/null; then echo "user $user reads $path"; fi
            if as "$user" stat "$path" 2>&1 >/dev/null; then echo "user $user looks at $path"; fi
          done
          if as "$user" truncate -s 0 "$home/mnt/disk.img" 2>&1; then echo "user $user writes it"; fi
        done
        as 65534 fusermount3 -u "$home/mnt"
        """#
      let result = try await attempt("unshare", ["--mount", "sh", "-euc", script, "sh", home, image.path])
      #expect(result.succeeded, "\(result)")
      let lines = result.output.split(separator: "\n")
      #expect(lines.count == 10, "\(result)")
      #expect(lines.allSatisfy { $0.hasSuffix("Permission denied") }, "\(result)")
      #expect(try await eventually { Daemon.find(mentioning: home).allSatisfy { !$0.isAlive } })
    }

    /// A user who lets others in, where the machine allows that: the kernel checks owner and mode all the same.
    @Test(.needs(.program("unshare"), .program("setpriv"), .program("fusermount3"), .program("mknod")))
    func allowOtherLetsInWhomTheModeLetsIn() async throws {
      let home = try sandbox.directory("home")
      try await run("cp", Host.cowmount, home + "/cowmount")
      for name in ["/mnt", "/overlay"] {
        mkdir(home + name, 0o755)
        chown(home + name, 65534, 65534)
      }
      let image = try sandbox.image(size: 4096, mode: 0o600)
      chown(image.path, 65534, 65534)
      let script = #"""
        home=$1 image=$2
        mknod "$home/fuse" c 10 229
        chmod 0666 "$home/fuse"
        mount --bind "$home/fuse" /dev/fuse
        echo user_allow_other >"$home/fuse.conf"
        mount --bind "$home/fuse.conf" /etc/fuse.conf
        as() { user=$1; shift; setpriv --reuid="$user" --regid="$user" --clear-groups -- "$@"; }
        as 65534 "$home/cowmount" -o allow_other --overlay-dir "$home/overlay" "$image" "$home/mnt"
        file=$home/mnt/disk.img
        as 65534 cmp "$file" "$image"
        as 65534 truncate -s 5000 "$file"
        for change in 'cat "$0"' 'truncate -s 0 "$0"' 'chmod 0666 "$0"' 'chown 65533 "$0"' 'touch -d @1 "$0"'; do
          if as 65533 sh -c "$change" "$file" >/dev/null 2>&1; then echo "a stranger can $change"; fi
        done
        as 65534 chmod 0644 "$file"
        as 65533 test -r "$file" || echo "a stranger cannot read what is for all"
        as 65534 fusermount3 -u "$home/mnt"
        """#
      let result = try await attempt("unshare", ["--mount", "sh", "-euc", script, "sh", home, image.path])
      #expect(result.succeeded && result.output.isEmpty, "\(result)")
      #expect(try await eventually { Daemon.find(mentioning: home).allSatisfy { !$0.isAlive } })
    }

    // MARK: What lets people in is more than a mode

    /// With an access control list the bits of the group are its mask.
    @Test(.needs(.program("setpriv")))
    func aMaskIsNoPermission() async throws {
      let image = try sandbox.image(size: 4096, mode: 0o600)
      chown(image.path, 0, 65534)
      // user::rw- user:77:rw- group::--- mask::rw- other::---, in the kernel's form.
      var list: [UInt8] = [2, 0, 0, 0]
      for (tag, permissions, user) in [(1, 6, nil), (2, 6, 77), (4, 0, nil), (16, 6, nil), (32, 0, nil)]
        as [(UInt8, UInt8, UInt8?)]
      {
        list += [tag, 0, permissions, 0] + (user.map { [$0, 0, 0, 0] } ?? [255, 255, 255, 255])
      }
      try setAttribute("system.posix_acl_access", list, of: image.path)
      #expect(try status(image.path).st_mode & 0o777 == 0o660)
      let mount = try await sandbox.mount(image)
      #expect(try status(mount.file).st_mode & 0o777 == 0o600)
      for path in [image.path, mount.file] {
        let reader = try await attempt("setpriv", nobody + ["head", "-c1", path])
        #expect(!reader.succeeded, "\(reader)")
      }
    }

    /// Who could not reach the image does not get at it by the mount, however deep the closed directory.
    @Test(
      .needs(.program("setpriv")),
      arguments: [
        (0o700, 0o600), (0o710, 0o600), (0o711, 0o644), (0o755, 0o644), (0o701, 0o600),
      ] as [(directory: mode_t, file: mode_t)])
    func closedDirectories(directory: mode_t, file: mode_t) async throws {
      let outer = try sandbox.directory("outer")
      mkdir(outer + "/inner", 0o755)
      let image = try Image(outer + "/inner/disk.img", size: 4096, mode: 0o644)
      chown(outer, 0, 4711)
      chmod(outer, directory)
      let link = try sandbox.directory("links") + "/disk.img"
      symlink(image.path, link)
      for source in [image.path, link] {
        let mount = try await sandbox.mount(Image(existing: source))
        #expect(try status(mount.file).st_mode & 0o777 == file)
        let reader = try await attempt("setpriv", nobody + ["head", "-c1", mount.file])
        #expect(reader.succeeded == (file == 0o644), "\(reader)")
      }
    }

    /// Nobody knows whom a server lets in.
    @Test(.needs(.program("nbdkit")))
    func servedImagesAreTheCallers() async throws {
      let image = try sandbox.image(size: 1 << 20, mode: 0o644)
      let server = try await NbdServer(.nbdkit, image)
      let mount = try await sandbox.mount(image, from: server.uri)
      #expect(try status(mount.file).st_mode & 0o777 == 0o600)
      let started = try await sandbox.mount(image, by: ["nbdkit", "file", image.path])
      #expect(try status(started.file).st_mode & 0o777 == 0o600)
    }

    /// With root's mount the kernel lets in whom the image lets in, and to write only who may.
    @Test(
      .needs(.program("setpriv")),
      arguments: [
        (0o600, 0, false, false), (0o644, 0, true, false), (0o604, 0, true, false), (0o640, 0, false, false),
        (0o660, 65534, true, true), (0o640, 65534, true, false),
      ] as [(mode: mode_t, group: gid_t, reads: Bool, writes: Bool)])
    func kernelChecks(mode: mode_t, group: gid_t, reads: Bool, writes: Bool) async throws {
      let image = try sandbox.image(size: 4096, mode: mode)
      chown(image.path, 0, group)
      let mount = try await sandbox.mount(image)
      let reader = try await attempt("setpriv", nobody + ["cmp", "-n", "1", mount.file, mount.file])
      #expect(reader.succeeded == reads, "\(reader)")
      let writer = try await attempt("setpriv", nobody + ["truncate", "-s", "5", mount.file])
      #expect(writer.succeeded == writes, "\(writer)")
    }

    // MARK: The overlay

    @Test(.needs(.program("setpriv")))
    func overlayIsForNobodyElse() async throws {
      let overlays = try sandbox.directory("overlay")
      // What the caller would let files be must not matter.
      let image = try sandbox.image(size: 1 << 20)
      let place = try sandbox.directory("mnt")
      try await shell(#"umask 0; "$@""#, Host.cowmount, "--overlay-dir", overlays, image.path, place)
      sandbox.atEnd { try await run("umount", place) }
      let daemon = try #require(Daemon.find(mentioning: place).first)
      let server = daemon.server
      let overlay = try #require(try server.descriptors().first { $0.target.hasPrefix(overlays + "/") })
      let path = "/proc/\(server.pid)/fd/\(overlay.number)"
      var shown = stat()
      try TestFile.check(stat(path, &shown))
      #expect(shown.st_mode & 0o7777 == 0o600 && shown.st_nlink == 0 && shown.st_uid == 0)
      let other = try await attempt("setpriv", nobody + ["head", "-c", "1", path])
      #expect(!other.succeeded, "\(other)")
      #expect(try entries(overlays) == [])
    }

    @Test func overlayInMemoryIsForNobodyElse() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let daemon = try await sandbox.mountInMemory(image).daemon.server
      let overlay = try #require(try daemon.descriptors().first { $0.target.contains("memfd:") })
      let path = "/proc/\(daemon.pid)/fd/\(overlay.number)"
      let other = try await attempt("setpriv", nobody + ["head", "-c", "1", path])
      #expect(!other.succeeded, "\(other)")
    }

    /// A link as overlay directory is followed once. Whoever turns it round later, or meanwhile, moves no overlay, and
    /// makes none appear under a name.
    @Test func overlayDirectoryIsResolvedOnce() async throws {
      let (first, second) = (try sandbox.directory("first"), try sandbox.directory("second"))
      let link = try sandbox.directory("links") + "/link"
      symlink(first, link)
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20), overlays: link)
      unlink(link)
      symlink(second, link)
      let file = try mount.open()
      try file.write(Pattern().bytes(1 << 20), at: 0)
      try file.sync()
      #expect(try mount.daemon.overlaySpace(in: first) >= 1 << 20)
      #expect(try entries(first) == [] && entries(second) == [])
    }

    @Test func overlayDirectoryThatKeepsChanging() async throws {
      let (first, second) = (try sandbox.directory("first"), try sandbox.directory("second"))
      let links = try sandbox.directory("links")
      let (image, place) = (try sandbox.image(size: 4096), try sandbox.directory("mnt"))
      let script = #"""
        while [ ! -e "$1/stop" ]; do
          ln -sfn "$2" "$1/link"
          ln -sfn "$3" "$1/link"
        done
        """#
      try await shell(#"ln -s "$1" "$2""#, first, links + "/link")
      let swapping = Task { try await shell(script, links, first, second) }
      for _ in 0..<20 {
        let begun = try await attempt(Host.cowmount, ["--overlay-dir", links + "/link", image.path, place])
        #expect(begun.succeeded, "\(begun)")
        let daemon = try #require(Daemon.find(mentioning: place).first { $0.isAlive })
        let overlays = try daemon.server.descriptors().filter { $0.target.hasSuffix("(deleted)") }
        #expect(overlays.count == 1, "\(overlays)")
        #expect(
          overlays.allSatisfy { $0.target.hasPrefix(first + "/") || $0.target.hasPrefix(second + "/") }, "\(overlays)")
        try await run("umount", place)
        #expect(try await eventually { !daemon.isAlive })
      }
      try TestFile.check(mkdir(links + "/stop", 0o755))
      _ = try await swapping.value
      #expect(try entries(first) == [] && entries(second) == [])
    }

    // MARK: The process

    @Test(arguments: [true, false])
    func keepsOnlyWhatItNeeds(staying: Bool) async throws {
      let image = try sandbox.image(size: 4096)
      let place = try sandbox.directory("mnt")
      let overlays = try sandbox.directory("overlay")
      let caller = try sandbox.directory("caller")
      // A caller with a file open, in a directory of its own.
      let script = #"""
        cd "$1"
        exec 9<"$2" 7>>"$1/file"
        shift 2
        exec "$@"
        """#
      let arguments =
        [caller, image.path, Host.cowmount] + (staying ? ["--foreground"] : [])
        + ["--overlay-dir", overlays, image.path, place]
      let begun = Task { try await attempt("sh", ["-euc", script, "sh"] + arguments) }
      #expect(try await eventually { try MountEntry.at(place)?.type == "fuse.cowmount" })
      if !staying { #expect(try await begun.value.succeeded) }
      sandbox.atEnd { [begun] in
        try await run("umount", place)
        #expect(try await begun.value.succeeded)
      }
      let keeper = try #require(Daemon.find(mentioning: place).first)
      // Serving, so that it has come to its rest.
      try expectBase(TestFile(place + "/disk.img"), 0..<4096)

      for process in [keeper, keeper.guardian, keeper.server] {
        let descriptors = try process.descriptors()
        #expect(
          !descriptors.contains { ["7", "9"].contains($0.number) && $0.target.hasPrefix(caller) }, "\(descriptors)")
        #expect(!descriptors.contains { $0.target == caller + "/file" }, "\(descriptors)")
        #expect(descriptors.count { $0.target == image.path } == (process == keeper.server ? 1 : 0), "\(descriptors)")
        #expect(descriptors.contains { $0.target == "/dev/fuse" } == (process == keeper.server), "\(descriptors)")
        for descriptor in descriptors where !["0", "1", "2"].contains(descriptor.number) {
          #expect(try process.flags(of: descriptor.number) & 0o2000000 != 0, "close-on-exec: \(descriptor)")
        }
        if !staying || process != keeper { #expect(Host.resolved("/proc/\(process.pid)/cwd") == "/") }
      }
      try expectNoRights(keeper.server)
      #expect(try keeper.status("Threads") == "1")
      #expect(try keeper.guardian.status("Threads") == "1")
    }

    /// What the process that reads an image has, in each of its threads: another user and group, no capability, no way to
    /// gain any, and a list of calls.
    private func expectNoRights(_ server: Daemon) throws {
      let threads = try entries("/proc/\(server.pid)/task")
      #expect(threads.count > 2)
      let user = try server.status("Uid").split(separator: " ").first ?? ""
      #expect(user != "0" && user != "")
      for thread in threads {
        let status = try readText("/proc/\(server.pid)/task/\(thread)/status").split(separator: "\n")
        let none = "0000000000000000"
        let ids = Array(repeating: user, count: 4).joined(separator: "\t")
        for line in [
          "Uid:\t\(ids)", "Gid:\t\(ids)", "Groups:\t ", "CapEff:\t\(none)", "CapPrm:\t\(none)", "CapInh:\t\(none)",
          "CapBnd:\t\(none)", "CapAmb:\t\(none)", "NoNewPrivs:\t1", "Seccomp:\t2",
        ] {
          #expect(status.contains { $0 == line }, "thread \(thread) lacks '\(line)'")
        }
      }
    }
  }
}

/// setxattr(2), which the Glibc module does not have.
private func setAttribute(_ name: String, _ value: [UInt8], of path: String) throws {
  typealias Function = @convention(c) (UnsafePointer<CChar>, UnsafePointer<CChar>, UnsafeRawPointer, Int, CInt) -> CInt
  let function = unsafeBitCast(try #require(dlsym(nil, "setxattr")), to: Function.self)
  try TestFile.check(function(path, name, value, value.count, 0))
}
