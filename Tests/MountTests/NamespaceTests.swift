// One file, and nothing can be put beside it, taken away or renamed.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct Namespace {
    @Test func oneEntry() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 10))
      #expect(try entries(mount.place) == ["disk.img"])
      #expect(throws: Errno.noSuchFileOrDirectory) { try status(mount.place + "/other") }
      #expect(throws: Errno.noSuchFileOrDirectory) { try TestFile(mount.place + "/other", O_RDONLY) }
      #expect(throws: Errno.notDirectory) { try status(mount.file + "/other") }
      #expect(try status(mount.place).st_mode & S_IFMT == S_IFDIR)
      let shown = try await run("ls", "-lai", mount.place)
      #expect(shown.split(separator: "\n").count == 4)
    }

    @Test func nothingCanBeChanged() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 10))
      let other = mount.place + "/other"
      let refused: [(String, () -> CInt)] = [
        ("mkdir", { mkdir(other, 0o755) }),
        ("mknod", { mknod(other, S_IFREG | 0o644, 0) }),
        ("mkfifo", { mkfifo(other, 0o644) }),
        ("symlink", { symlink("disk.img", other) }),
        ("link", { link(mount.file, other) }),
        ("unlink", { unlink(mount.file) }),
        ("rename", { rename(mount.file, other) }),
      ]
      for (name, call) in refused {
        let result = call()
        let error = errno
        #expect(result == -1 && error == EPERM, "\(name): \(result), \(Errno(rawValue: error))")
      }
      #expect(throws: Errno.notPermitted) { try TestFile(other, O_RDWR | O_CREAT) }
      #expect(throws: Errno.notPermitted) { try TestFile(other, O_RDWR | O_CREAT | O_EXCL) }
      #expect(try entries(mount.place) == ["disk.img"])
      try expectBase(mount.open(), 0..<10)
    }

    /// No name but the file's own leads to it: none that it begins with, and none that begins with it.
    @Test func otherNames() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 10))
      for name in ["d", "disk.im", "disk.imgx", "disk.img.", "Disk.img", "isk.img"] {
        let result = access("\(mount.place)/\(name)", F_OK)
        #expect(result == -1 && errno == ENOENT, "\(name)")
      }
      #expect(access(mount.file, F_OK) == 0)
    }

    @Test(.needs(.program("perl")))
    func unknownControls() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 10))
      // FS_IOC_GETFLAGS, BLKGETSIZE64, and one that nobody has.
      for number in ["0x80086601", "0x80081272", "0x5400beef"] {
        let script = #"open F, "+<", $ARGV[0] or die; $b = "\0" x 64; ioctl(F, hex $ARGV[1], $b); print $! + 0"#
        let error = try await run("perl", "-e", script, mount.file, number)
        #expect(error == "\(ENOTTY)", "ioctl \(number)")
      }
    }

    @Test func locks() async throws {
      // QEMU and others lock images; flock(1) is enough to show that locks are kept apart.
      let mount = try await sandbox.mount(sandbox.image(size: 10))
      let file = try mount.open()
      #expect(flock(file.descriptor, LOCK_EX | LOCK_NB) == 0)
      let other = try mount.open()
      #expect(flock(other.descriptor, LOCK_EX | LOCK_NB) == -1)
    }
  }
}
