// Images in the formats of hypervisors, made by qemu-img and served by a qemu-nbd that is started for the mount.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite(.needs(.program("qemu-img"), .program("qemu-nbd"))) struct VirtualDisks {
    static let size = 10 << 20 + 1536
    static let data = [0..<3 << 20, 5 << 20..<5 << 20 + 4096, 7 << 20..<size]

    /// A raw image, and its bytes.
    static func raw() throws -> (image: Image, content: [UInt8]) {
      var bytes = zeros(size)
      for range in data {
        bytes.replaceSubrange(range, with: Image.content.bytes(range.count, at: range.lowerBound))
      }
      return (try sandbox.image(size: size, data: data), bytes)
    }

    static func convert(_ raw: Image, _ format: String, _ options: [String] = [], name: String) async throws -> Image {
      let converted = Image(existing: try sandbox.directory("converted") + "/" + name)
      let arguments = ["convert", "-q", "-f", "raw", "-O", format] + options + [raw.path, converted.path]
      let result = try await attempt("qemu-img", arguments)
      guard result.succeeded else { throw CommandFailure(result: result) }
      return converted
    }

    // MARK: Bytes

    struct Kind: Sendable, CustomTestStringConvertible {
      let format: String
      let options: [String]
      var testDescription: String { ([format] + options).joined(separator: " ") }

      init(_ format: String, _ options: String...) {
        self.format = format
        self.options = options
      }
    }

    @Test(arguments: [
      Kind("qcow2"), Kind("qcow2", "-o", "compat=0.10"), Kind("qcow2", "-c", "-o", "compression_type=zstd"),
      Kind("qcow2", "-o", "extended_l2=on,cluster_size=16k,refcount_bits=1"), Kind("qcow2", "-o", "cluster_size=512"),
      Kind("vmdk"), Kind("vmdk", "-o", "subformat=streamOptimized"), Kind("vhdx"),
      Kind("vhdx", "-o", "subformat=fixed"), Kind("vdi"), Kind("vdi", "-o", "static=on"),
      Kind("vpc", "-o", "force_size=on"),
    ])
    func randomReadsAndWrites(kind: Kind) async throws {
      let (raw, content) = try Self.raw()
      let image = try await Self.convert(raw, kind.format, kind.options, name: "disk.\(kind.format)")
      let mount = try await sandbox.mount(image, "--name", "other.img")
      #expect(try mount.open().size == Self.size)
      #expect(try MountEntry.at(mount.place)?.source == image.path)
      let server = try StartedServer(of: mount.daemon)
      try workAtRandom(mount, content: content)
      try await mount.unmount()
      try await server.expectGone()
    }

    /// The name is that of the disk, and what is not the image's content is the image file's own.
    @Test func nameOwnerAndTime() async throws {
      let (raw, _) = try Self.raw()
      let image = try await Self.convert(raw, "qcow2", name: "disk.qcow2")
      chmod(image.path, 0o640)
      let place = try sandbox.directory("mnt")
      let result = try await attempt(Host.cowmount, [image.path, place])
      #expect(result.succeeded, "\(result)")
      #expect(try entries(place) == ["disk.img"])
      let (shown, original) = try (status(place + "/disk.img"), status(image.path))
      #expect(shown.st_mode & 0o777 == 0o640 && shown.st_uid == original.st_uid)
      #expect(shown.st_mtim.tv_sec == original.st_mtim.tv_sec && shown.st_mtim.tv_nsec == original.st_mtim.tv_nsec)
      // Holes are known.
      #expect(try TestFile(place + "/disk.img").dataRanges().first == 0..<3 << 20)
      try await run("fusermount3", "-u", place)
    }

    @Test func rawShowsTheFileItself() async throws {
      let (raw, _) = try Self.raw()
      let image = try await Self.convert(raw, "qcow2", name: "disk.qcow2")
      let mount = try await sandbox.mount(image, "--format", "raw")
      try await run("cmp", mount.file, image.path)
    }

    @Test(.needs(.program("sfdisk"))) func partitions() async throws {
      let raw = try sandbox.image(size: 8 << 20, mode: 0o644)
      try await shell(#"printf 'label: dos\nstart=2048, size=4096\n' | sfdisk --quiet "$1""#, raw.path)
      let image = try await Self.convert(raw, "qcow2", name: "disk.qcow2")
      let listing = try await attempt(Host.cowmount, ["partitions", image.path])
      #expect(listing.succeeded && listing.errors.isEmpty, "\(listing)")
      #expect(listing.output.contains("\(1 << 20)  \(2 << 20)  2 MiB"), "\(listing)")
      let mount = try await sandbox.mount(image, "--partition", "1", "--name", "disk.img")
      try expect(mount.open(), at: 0, holds: Image.content.bytes(2 << 20, at: 1 << 20))
    }

    @Test(.needs(.root, .program("losetup"))) func blockDevice() async throws {
      let (raw, content) = try Self.raw()
      let file = try await Self.convert(raw, "qcow2", name: "disk.qcow2")
      let device = try await sandbox.loopDevice(file.path, "--read-only")
      let mount = try await sandbox.mount(Image(existing: device))
      try expect(mount.open(), at: 0, holds: Array(content[..<(1 << 20)]))
    }

    // MARK: Backing chains

    /// base.raw <- mid.qcow2 <- top.qcow2, the names relative or absolute.
    static func chain(_ raw: Image, isRelative: Bool) async throws -> Image {
      let directory = try sandbox.directory("chain")
      try await run("cp", raw.path, directory + "/base.raw")
      let prefix = isRelative ? "" : directory + "/"
      for (name, backing, format) in [("mid", "base.raw", "raw"), ("top", "mid.qcow2", "qcow2")] {
        try await run(
          "qemu-img", "create", "-q", "-f", "qcow2", "-F", format, "-b", prefix + backing, "\(directory)/\(name).qcow2")
      }
      return Image(existing: directory + "/top.qcow2")
    }

    @Test(.needs(.program("qemu-io")), arguments: [true, false])
    func backingChain(isRelative: Bool) async throws {
      var (raw, content) = try Self.raw()
      let image = try await Self.chain(raw, isRelative: isRelative)
      let middle = image.path.replacing("top.qcow2", with: "mid.qcow2")
      try await run("qemu-io", "-f", "qcow2", "-c", "write -P 0x55 64k 64k", middle)
      try await run("qemu-io", "-f", "qcow2", "-c", "write -P 0x66 96k 64k", "-c", "write -z 1M 1M", image.path)
      for place in 64 << 10..<128 << 10 { content[place] = 0x55 }
      for place in 96 << 10..<160 << 10 { content[place] = 0x66 }
      for place in 1 << 20..<2 << 20 { content[place] = 0 }
      let mount = try await sandbox.mount(image, "--format", "qcow2", "--name", "disk.img")
      try workAtRandom(mount, content: content)
    }

    /// Two chains with names that are the same, so that a link tells whose backing file is meant.
    @Test func backingFileOfALink() async throws {
      let (raw, content) = try Self.raw()
      let image = try await Self.chain(raw, isRelative: true)
      let directory = try sandbox.directory("linked")
      try await run("qemu-img", "create", "-q", "-f", "qcow2", directory + "/mid.qcow2", "\(Self.size)")
      let link = directory + "/link.qcow2"
      symlink(image.path, link)
      let mount = try await sandbox.mount(Image(existing: link), "--format", "qcow2", "--name", "disk.img")
      try expectZeros(mount.open(), 0..<1 << 20, "QEMU looks beside the link")
      let other = try await sandbox.mount(image, "--format", "qcow2", "--name", "disk.img")
      try expect(other.open(), at: 0, holds: Array(content[..<(1 << 20)]))
    }

    @Test func aMissingBackingFile() async throws {
      let (raw, _) = try Self.raw()
      let image = try await Self.chain(raw, isRelative: true)
      try await run("rm", image.path.replacing("top.qcow2", with: "base.raw"))
      try await expectServerRefusal(
        ["--format", "qcow2", image.path, newMountpoint], naming: image.path, "base.raw", "No such file")
    }

    // MARK: Locks

    @Test func anImageThatIsWrittenTo() async throws {
      let (raw, content) = try Self.raw()
      let image = try await Self.convert(raw, "qcow2", name: "disk.qcow2")
      let top = try await Self.chain(raw, isRelative: false)
      let middle = top.path.replacing("top.qcow2", with: "mid.qcow2")
      for path in [image.path, middle] {
        let directory = try sandbox.directory("server")
        try await run(
          "qemu-nbd", "--fork", "--persistent", "--format=qcow2", "--socket=\(directory)/socket",
          "--pid-file=\(directory)/pid", path)
        sandbox.atEnd { _ = try await attempt("sh", ["-c", #"kill "$(cat "$0/pid")""#, directory]) }
      }
      try await expectServerRefusal([image.path, newMountpoint], naming: image.path, "--force-share")
      try await expectServerRefusal(["--format", "qcow2", top.path, newMountpoint], naming: top.path, "lock")
      let mount = try await sandbox.mount(image, "--force-share", "--name", "disk.img")
      try expect(mount.open(), at: 0, holds: Array(content[..<(1 << 20)]))
      let chained = try await sandbox.mount(top, "--force-share", "--format", "qcow2", "--name", "disk.img")
      try expect(chained.open(), at: 0, holds: Array(content[..<(1 << 20)]))
    }

    // MARK: The end

    @Test(arguments: [SIGTERM, SIGINT, SIGKILL])
    func theServerEndsWithTheMount(signal: CInt) async throws {
      let (raw, _) = try Self.raw()
      let image = try await Self.convert(raw, "qcow2", name: "disk.qcow2")
      let mount = try await sandbox.mount(image, "--name", "disk.img")
      let server = try StartedServer(of: mount.daemon)
      if signal == SIGKILL { try await mount.murder() } else { try await mount.end(with: signal) }
      try await server.expectGone()
    }

    @Test func aServerThatDies() async throws {
      let (raw, content) = try Self.raw()
      let image = try await Self.convert(raw, "qcow2", name: "disk.qcow2")
      let mount = try await sandbox.mount(image, "--name", "disk.img", staying: true)
      let file = try mount.open(O_RDWR | O_DIRECT)
      try file.write(Array(content[..<4096]), at: 8 << 20)
      let server = try StartedServer(of: mount.daemon)
      kill(server.server.pid, SIGKILL)
      try await server.expectGone()
      // What is in the overlay is there; the rest fails, and does not wait for anybody.
      try expect(file, at: 8 << 20, holds: Array(content[..<4096]))
      #expect(throws: Errno.ioError) { try file.read(4096, at: 7 << 20) }
      let result = try #require(try await mount.end(with: SIGTERM))
      #expect(result.errors.contains("qemu-nbd was killed by signal 9"), "\(result)")
    }

    @Test func aUsersMount() async throws {
      try await withDeviceForEverybody {
        let (raw, _) = try Self.raw()
        let image = try await Self.convert(raw, "qcow2", name: "disk.qcow2")
        let home = try sandbox.directory("home")
        try await run("cp", Host.cowmount, home)
        for name in ["/mnt", "/tmp"] {
          mkdir(home + name, 0o755)
          chown(home + name, 65534, 65534)
        }
        let command = [home + "/cowmount", "--overlay-dir", home + "/tmp", image.path, home + "/mnt"]
        let result = try await attempt("setpriv", nobody + command)
        #expect(result.succeeded, "\(result)")
        let server = try StartedServer(of: try #require(Daemon.find(mentioning: home + "/mnt").first))
        let compared = try await attempt("setpriv", nobody + ["cmp", home + "/mnt/disk.img", raw.path])
        #expect(compared.succeeded, "\(compared)")
        let ended = try await attempt("setpriv", nobody + ["fusermount3", "-u", home + "/mnt"])
        #expect(ended.succeeded, "\(ended)")
        try await server.expectGone()
      }
    }
  }
}
