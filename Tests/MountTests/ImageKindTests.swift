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

    /// Sectors of 512 and 4096 bytes; the first, in a file of its own, ends in the middle of a page.
    @Test(.needs(.root, .program("losetup")), arguments: [512, 4096])
    func blockDevicePastTheCache(sectorSize: Int) async throws {
      let size = (1 << 20) + sectorSize
      let device = try await sandbox.loopDevice(
        sandbox.image(size: size).path, "--read-only", "--sector-size", "\(sectorSize)")
      let mount = try await sandbox.mount(Image(existing: device), "--base-cache", "none")
      try expectWritableCopy(mount, size: size)
      #expect(try residentPages(device, size: size) == 0)
    }

    @Test(arguments: ["none", "default"])
    func baseCache(kind: String) async throws {
      let size = (6 << 20) + 700
      let image = try sandbox.image(size: size)
      try await run("sync", image.path)
      guard
        try await attempt("dd", ["of=\(image.path)", "oflag=nocache", "conv=notrunc,fdatasync", "count=0"]).succeeded,
        try residentPages(image.path, size: size) == 0
      else { try Skips.skipRest("pages of this file system cannot be evicted") }
      // Not the sandbox's mount: it looks at all of the base, through the cache.
      let place = try sandbox.directory("mnt")
      let mounted = try await attempt(
        Host.cowmount, ["--base-cache", kind, "--overlay-dir", try sandbox.directory("overlay"), image.path, place])
      #expect(mounted.succeeded && mounted.errors.isEmpty, "\(mounted)")
      let file = try TestFile(place + "/disk.img")
      try expectBase(file, 0..<size)
      try expectBase(TestFile(place + "/disk.img", O_RDONLY | O_DIRECT), 1 << 20..<2 << 20)
      let pages = try residentPages(image.path, size: size)
      #expect(kind == "none" ? pages == 0 : pages >= size / 4096)
      let new = Pattern(seed: 51).bytes(1000)
      try file.write(new, at: size - 500)
      try expect(file, at: size - 500, holds: new)
      file.close()
      try await run(Host.isRoot ? "umount" : "fusermount3", Host.isRoot ? "--" : "-u", place)
    }

    /// How many pages of a file or device are in the page cache.
    private func residentPages(_ path: String, size: Int) throws -> Int {
      let file = try TestFile(path, O_RDONLY)
      guard let address = mmap(nil, size, PROT_READ, MAP_SHARED, file.descriptor, 0), address != MAP_FAILED else {
        throw Errno(rawValue: errno)
      }
      defer { munmap(address, size) }
      var pages = [UInt8](repeating: 0, count: (size + 4095) / 4096)
      try TestFile.check(mincore(address, size, &pages))
      return pages.count { $0 & 1 == 1 }
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
