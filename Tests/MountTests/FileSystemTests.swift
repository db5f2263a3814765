// Real file systems, loop-mounted through the overlay: a tree is unpacked, half of it removed, free space trimmed, and the
// file system checked.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.root, .program("losetup"), .program("tar"))) struct FileSystems {
    @Test(.needs(.fileSystem("ext4"), .program("mkfs.ext4"), .program("e2fsck")), arguments: ["off", "on"])
    func ext4(directIO: String) async throws {
      let image = try await makeImage(size: "96M", "mkfs.ext4", "-q", "-F")
      let mount = try await work(on: image, type: "ext4", directIO: directIO)
      let check = try await attempt("e2fsck", ["-fn", mount.file])
      #expect(check.succeeded, "\(check)")
    }

    @Test(.needs(.fileSystem("xfs"), .program("mkfs.xfs"), .program("xfs_repair")), arguments: ["off", "on"])
    func xfs(directIO: String) async throws {
      let image = try await makeImage(size: "320M", "mkfs.xfs", "-q")
      let mount = try await work(on: image, type: "xfs", directIO: directIO)
      let check = try await attempt("xfs_repair", ["-n", "-f", mount.file])
      #expect(check.succeeded, "\(check)")
    }

    /// A base without holes, as `dd` makes it, becomes sparse by the guest's fstrim.
    @Test(.needs(.fileSystem("ext4"), .program("mkfs.ext4"), .program("fstrim")))
    func fstrimOfAFullBase() async throws {
      let sparse = try await makeImage(size: "48M", "mkfs.ext4", "-q", "-F")
      let full = sparse.path + ".full"
      try await run("dd", "if=/dev/urandom", "of=\(full)", "bs=1M", "count=48")
      // Free space of the guest is full of old bytes.
      try await run("dd", "if=\(sparse.path)", "of=\(full)", "bs=4k", "conv=notrunc,sparse")
      let mount = try await sandbox.mount(Image(existing: full))
      #expect(try mount.open().dataRanges() == [0..<48 << 20])
      let guest = try await mountGuest(mount.file, directIO: "off")
      try await shell(#"echo hello > "$1/hello"; fstrim "$1""#, guest.place)
      try await guest.end()
      let data = try mount.open().dataRanges().reduce(0) { $0 + $1.count }
      #expect(data < 24 << 20)

      let copy = sandbox.path + "/copy"
      try await run("cp", "--sparse=always", mount.file, copy)
      #expect(try status(copy).st_blocks * 512 < 24 << 20)
      let check = try await attempt("e2fsck", ["-fn", copy])
      #expect(check.succeeded, "\(check)")
      let again = try await mountGuest(mount.file, directIO: "off")
      #expect(try readText(again.place + "/hello") == "hello\n")
    }

    private func makeImage(size: String, _ command: String...) async throws -> Image {
      let path = try sandbox.directory("image") + "/disk.img"
      try await run("truncate", "-s", size, path)
      let made = try await attempt(command[0], command.dropFirst() + [path])
      guard made.succeeded else { throw CommandFailure(result: made) }
      chmod(path, 0o444)
      return Image(existing: path)
    }

    private func work(on image: Image, type: String, directIO: String) async throws -> Mount {
      let mount = try await sandbox.mount(image)
      let tree = try await makeTree()
      let guest = try await mountGuest(mount.file, directIO: directIO)
      #expect(try MountEntry.at(guest.place)?.type == type)
      try await shell(#"tar -C "$1" -cf - . | tar -C "$2" -xf -; sync -f "$2""#, tree, guest.place)
      try await run("diff", "-r", "--exclude=lost+found", tree, guest.place)
      #expect(try mount.overlaySpace() > 15 << 20)
      try await run("rm", "-r", guest.place + "/a")
      // xfs frees what was removed later than rm returns, at the latest here.
      try await guest.end()

      let again = try await mountGuest(mount.file, directIO: directIO)
      try await run("sync", "-f", again.place)
      let before = try mount.overlaySpace()
      try await run("fstrim", again.place)
      // xfs does not wait for its discards.
      let isGivenBack = try await eventually { try mount.overlaySpace() < before - (6 << 20) }
      #expect(isGivenBack, "trimmed space is given back")
      try await run("diff", "-r", tree + "/b", again.place + "/b")
      #expect(access(again.place + "/a", F_OK) == -1)
      try await again.end()
      return mount
    }

    /// Two directories of 8 MiB each, in files of many sizes.
    private func makeTree() async throws -> String {
      let tree = try sandbox.directory("tree")
      let script = #"""
        cd "$1"
        for half in a b; do
          mkdir -p $half/deep/er
          head -c 4000000 /dev/urandom > $half/large
          for n in $(seq 100); do head -c $((n * 800 + 1)) /dev/urandom > $half/deep/er/file$n; done
          ln -s large $half/link
          truncate -s 1M $half/sparse
        done
        """#
      try await shell(script, tree)
      return tree
    }

    private struct Guest {
      let place: String
      let device: String

      func end() async throws {
        try await run("umount", place)
        try await sandbox.detach(device)
      }
    }

    private func mountGuest(_ file: String, directIO: String) async throws -> Guest {
      let device = try await sandbox.loopDevice(file, "--direct-io=\(directIO)")
      let place = try sandbox.directory("guest")
      try await sandbox.mountOther(device, at: place)
      return Guest(place: place, device: device)
    }
  }
}
