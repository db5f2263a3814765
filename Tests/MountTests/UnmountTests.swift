// cowmount unmount: nothing is left when it returns, and nobody who uses the mount loses it.

import Glibc
import Testing

extension Mounted {
  @Suite struct Unmount {
    private func expectBusy(
      _ mount: Mount, _ words: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      let result = try await attempt(Host.cowmount, ["unmount", mount.place])
      expectOneLine(result, naming: [mount.place, "in use by"] + words, status: 1, sourceLocation: sourceLocation)
      #expect(try MountEntry.at(mount.place) != nil, sourceLocation: sourceLocation)
    }

    @Test(arguments: ["directory", "file", "exposed", "link"])
    func nothingIsLeft(kind: String) async throws {
      let place = try sandbox.directory("mnt")
      if kind == "file" { try TestFile(place + "/file", O_RDWR | O_CREAT).close() }
      let mount = try await sandbox.mount(
        sandbox.image(size: 1 << 20), at: kind == "file" ? place + "/file" : place)
      try mount.open().write([UInt8](repeating: 1, count: 1 << 20), at: 0)
      let link = try sandbox.directory("links") + "/link"
      symlink(mount.place, link)
      let family = mount.daemon.family
      #expect(try await control("unmount", kind == "exposed" ? mount.file : kind == "link" ? link : mount.place) == "")
      // At once, and not a moment later.
      #expect(!mount.daemon.isAlive && family.allSatisfy { !$0.isAlive })
      try await mount.expectGone()
    }

    @Test func processesAreNamed() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1000))
      let user = try Background("sh", "-c", "exec 3<\"$1\"; echo; exec sleep 100", "sh", mount.file)
      try await expectBusy(mount, "sleep (process \(user.pid))")
      try user.end()
      _ = try await control("unmount", mount.place)
      try await mount.expectGone()
    }

    @Test(.needs(.root, .program("losetup"), .program("mkfs.ext4"), .program("sfdisk"))) func loopDevices() async throws
    {
      let image = try sandbox.image(size: 32 << 20, data: [], mode: 0o644)
      try await run("mkfs.ext4", "-q", "-F", image.path)
      let mount = try await sandbox.mount(image)
      let used = try await sandbox.loopDevice(mount.file)
      let place = try sandbox.directory("disk")
      try await sandbox.mountOther(used, at: place)
      let idle = try await sandbox.loopDevice(mount.file)
      try await expectBusy(mount, "\(used) (mounted at \(place))")
      #expect(try await run("losetup", idle).contains(mount.file), "nothing is detached for nothing")
      try await run("umount", place)

      let holder = try Background("sh", "-c", "exec 3<\"$1\"; echo; exec sleep 100", "sh", used)
      try await expectBusy(mount, used, "sleep (process \(holder.pid))")
      try holder.end()
      _ = try await control("unmount", mount.place)
      for device in [used, idle] { #expect(try await !attempt("losetup", [device]).succeeded, "\(device) is attached") }
      try await mount.expectGone()
    }

    /// One that is mounted where this process cannot see it.
    @Test(.needs(.root, .program("losetup"), .program("unshare"), .program("mkfs.ext4")))
    func loopDeviceInAnotherNamespace() async throws {
      let image = try sandbox.image(size: 16 << 20, data: [], mode: 0o644)
      try await run("mkfs.ext4", "-q", "-F", image.path)
      let mount = try await sandbox.mount(image)
      let device = try await sandbox.loopDevice(mount.file)
      let user = try Background(
        "unshare", "-m", "sh", "-ec", "mount \"$1\" /mnt; echo; exec sleep 100", "sh", device)
      try await expectBusy(mount, device)
      // Nor is it detached as soon as it is unmounted there.
      #expect(try await run("losetup", "--noheadings", "--output", "AUTOCLEAR", device).contains("0"))
      try user.end()
    }

    @Test func deadMount() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1000))
      try await mount.murder()
      _ = try await control("unmount", mount.place)
      #expect(try MountEntry.at(mount.place) == nil)
    }

    @Test func noMount() async throws {
      let directory = try sandbox.directory("plain")
      expectOneLine(
        try await attempt(Host.cowmount, ["unmount", directory]), naming: [directory, "is no cowmount"], status: 1)
    }

    @Test(.needs(.root, .program("setpriv"))) func strangers() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1000))
      let home = try sandbox.directory("home")
      try await run("cp", Host.cowmount, home + "/cowmount")
      let result = try await attempt("setpriv", nobody + [home + "/cowmount", "unmount", mount.place])
      expectOneLine(result, naming: [mount.place, "may not be unmounted by this user"], status: 1)
      #expect(try MountEntry.at(mount.place) != nil)
    }

    @Test(.needs(.root, .program("setpriv"), .program("fusermount3"))) func ordinaryUser() async throws {
      try await withDeviceForEverybody {
        let home = try sandbox.directory("home")
        chown(home, 65534, 65534)
        try await run("cp", Host.cowmount, home + "/cowmount")
        let place = home + "/mnt"
        let image = try sandbox.image(size: 1000)
        let script = #"""
          mkdir mnt; ./cowmount --memory "$1" mnt
          ./cowmount status mnt; ./cowmount list; ./cowmount changes --json mnt
          exec 3<mnt/disk.img; ./cowmount unmount mnt 2>&1 && exit 1; exec 3<&-
          ./cowmount unmount mnt; rmdir mnt
          """#
        let result = try await attempt("setpriv", nobody + ["sh", "-euc", script, "sh", image.path], in: home)
        #expect(result.succeeded, "\(result)")
        #expect(result.output.contains("is in use by sh (process"), "\(result)")
        #expect(result.output.contains("\(place) "), "\(result)")
      }
    }
  }
}
