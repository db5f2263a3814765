// Images that the kernel itself may write to, which takes no lock: behind a loop device, or below a mounted file system.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.root, .program("losetup"))) struct WrittenImages {
    private func use(_ image: String, _ options: String...) async throws {
      let place = try sandbox.directory("mnt")
      let result = try await attempt(Host.cowmount, options + [image, place])
      #expect(result.succeeded, "\(result)")
      if result.succeeded { try await run("umount", place) }
      #expect(try await eventually { Daemon.find(mentioning: place).allSatisfy { !$0.isAlive } })
    }

    private func refuse(_ image: String, naming device: String) async throws {
      let place = try sandbox.directory("mnt")
      try await expectRefusal([image, place], naming: image, device, "--force-share", status: 1)
      try await use(image, "--force-share")
    }

    @Test func behindALoopDevice() async throws {
      let image = try sandbox.image(size: 1 << 20, mode: 0o644).path
      let link = image + ".link"
      let readOnly = try await sandbox.loopDevice(image, "--read-only")
      try await use(image)
      let device = try await sandbox.loopDevice(image)
      try await refuse(image, naming: device)
      let name = try sandbox.directory("links") + "/name"
      symlink(image, name)
      try await refuse(name, naming: device)
      // Also by another name, and whatever has been put over the one that the device knows.
      try TestFile.check(Glibc.link(image, link))
      try await refuse(link, naming: device)
      let place = try sandbox.directory("mnt") + "/file"
      try TestFile(place, O_CREAT | O_WRONLY).close()
      try await sandbox.mountOther("--bind", place, at: image)
      try await refuse(link, naming: device)
      try await run("umount", image)
      try await sandbox.detach(device)
      try await use(image)
      try await use(link)
      try await sandbox.detach(readOnly)
    }

    /// One that goes away by itself, when what was on it is unmounted, is waited for.
    @Test(.needs(.fileSystem("ext4"), .program("mkfs.ext4"))) func aLoopDeviceThatIsAboutToGo() async throws {
      let image = try sandbox.image(size: 16 << 20, data: [], mode: 0o644).path
      try await run("mkfs.ext4", "-q", image)
      for _ in 0..<5 {
        let place = try sandbox.directory("fs")
        try await sandbox.mountOther("-o", "loop", image, at: place)
        try TestFile(place + "/file", O_CREAT | O_WRONLY).close()
        try await run("umount", place)
        try await use(image)
      }
    }

    /// A loop device on a mount is not one on its image, even where the path is the same.
    @Test func aLoopDeviceOnTheMount() async throws {
      let image = try sandbox.image(size: 1 << 20, mode: 0o644)
      let link = try sandbox.directory("links") + "/disk.img"
      try TestFile.check(Glibc.link(image.path, link))
      let mount = try await sandbox.mount(image, at: image.path)
      let device = try await sandbox.loopDevice(mount.file)
      try await use(link)
      try await sandbox.detach(device)
    }

    @Test(.needs(.fileSystem("ext4"), .program("mkfs.ext4"))) func aMountedDevice() async throws {
      let image = try sandbox.image(size: 16 << 20, data: [], mode: 0o644).path
      try await run("mkfs.ext4", "-q", image)
      let device = try await sandbox.loopDevice(image)
      try await use(device)
      let place = try sandbox.directory("f s")
      try await sandbox.mountOther(device, at: place)
      try await refuse(device, naming: place)
      try await run("mount", "-o", "remount,ro", place)
      try await use(device)
      try await run("umount", place)
      try await use(device)
    }

    @Test(.needs(.fileSystem("ext4"), .program("mkfs.ext4"), .program("sfdisk"), .program("partx"))) func partsOfADisk()
      async throws
    {
      let image = try sandbox.image(size: 64 << 20, data: [], mode: 0o644).path
      try await shell(#"printf 'label: gpt\nsize=16M\nsize=16M\n' | sfdisk --quiet "$1""#, image)
      let disk = try await sandbox.loopDevice(image)
      // Not every kernel knows the table, and not everywhere does somebody make nodes for partitions.
      // They do not go with the file that the device is on.
      try await run("partx", "--add", disk)
      sandbox.atEnd { try await run("partx", "--delete", disk) }
      let nodes = try sandbox.directory("dev")
      let script = #"mknod "$2" b $(tr ':' ' ' <"/sys/class/block/$1/dev")"#
      for part in ["p1", "p2"] { try await shell(script, String(disk.dropFirst(5)) + part, nodes + "/" + part) }
      try await run("mkfs.ext4", "-q", nodes + "/p1")
      let place = try sandbox.directory("fs")
      try await sandbox.mountOther(nodes + "/p1", at: place)
      try await refuse(disk, naming: disk + "p1")
      try await refuse(nodes + "/p1", naming: place)
      try await use(nodes + "/p2")
      let listed = try await attempt(Host.cowmount, ["partitions", disk])
      #expect(listed.succeeded, "\(listed)")
      try await run("umount", place)
      try await use(disk)
    }
  }
}
