// What can be an image: links, read-only files and file systems, block devices, and names that are hard to quote.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct ImageKinds {
    private func expectWritableCopy(_ mount: Mount, size: Int) throws {
      let file = try mount.open()
      #expect(try file.size == size)
      try expectBase(file, 0..<size)
      let new = Pattern(seed: 131).bytes(1000)
      try file.write(new, at: size / 2)
      try file.sync()
      try expect(file, at: size / 2, holds: new)
    }

    @Test func link() async throws {
      let image = try sandbox.image(size: 5000)
      let link = sandbox.path + "/link.img"
      try TestFile.check(symlink(image.path, link))
      let mount = try await sandbox.mount(Image(existing: link))
      // The name that the user gave.
      #expect(try entries(mount.place) == ["link.img"])
      try expectWritableCopy(mount, size: 5000)
    }

    @Test func readOnlyFile() async throws {
      try expectWritableCopy(try await sandbox.mount(sandbox.image(size: 5000, mode: 0o444)), size: 5000)
    }

    @Test(.needs(.root))
    func readOnlyFileSystem() async throws {
      let image = try sandbox.image(size: 5000)
      let directory = String(image.path.dropLast("/disk.img".count))
      let place = try sandbox.directory("readonly")
      try await sandbox.mountOther("--bind", directory, at: place)
      try await run("mount", "-o", "remount,ro,bind", place)
      #expect(throws: Errno.readOnlyFileSystem) { try TestFile(place + "/disk.img") }
      try expectWritableCopy(try await sandbox.mount(Image(existing: place + "/disk.img")), size: 5000)
    }

    @Test(.needs(.root, .program("losetup")), arguments: [true, false])
    func blockDevice(readOnly: Bool) async throws {
      let size = 1 << 20 + 512
      let backing = try sandbox.image(size: size)
      let device = try await sandbox.loopDevice(backing.path, readOnly ? "--read-only" : "--nooverlap")
      let mount = try await sandbox.mount(Image(existing: device))
      let name = try #require(device.split(separator: "/").last)
      #expect(try entries(mount.place) == [String(name)])
      #expect(try status(mount.file).st_mode & S_IFMT == S_IFREG)
      try expectWritableCopy(mount, size: size)
      try await mount.unmount()
      try expectBase(TestFile(backing.path, O_RDONLY), 0..<size)
    }

    @Test(arguments: [
      "a b.img", "a,b.img", #"a\b.img"#, #"a\,b c"d'e.img"#, "ümlaut.img", "-o", "a\tb", "100%s$x", "fsname=x,ro",
    ])
    func hardToQuote(name: String) async throws {
      let image = try sandbox.image(name, size: 5000)
      let parent = try sandbox.directory("mnt")
      let place = parent + "/" + name
      try TestFile.check(mkdir(place, 0o755))
      let mount = try await sandbox.mount(image, at: place)
      #expect(try entries(place) == [name])
      #expect(try MountEntry.at(place)?.source == image.path)
      try expectWritableCopy(mount, size: 5000)
    }

    @Test func longName() async throws {
      let name = String(repeating: "n", count: 255)
      let mount = try await sandbox.mount(sandbox.image(name, size: 5000))
      #expect(try entries(mount.place) == [name])
      try expectWritableCopy(mount, size: 5000)
    }
  }
}
