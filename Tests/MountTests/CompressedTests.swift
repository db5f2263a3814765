// Compressed images: file systems in them work, damage stays where it is, and what is no image is refused.

import Glibc
import SystemPackage
import TestSupport
import Testing

extension Mounted {
  @Suite struct Compressed {
    /// How a file is compressed: a script for a shell, from `$1` to `$2`.
    enum Tool: String, CaseIterable, CustomTestStringConvertible {
      case xz = #"xz -1 --threads=2 --block-size=1MiB --stdout "$1" > "$2""#
      case xzJoined = #"split -b 5M --filter='xz -0 --check=sha256' "$1" > "$2"; head -c 400 /dev/zero >> "$2""#
      case pzstd = #"pzstd -q -p 2 --stdout "$1" > "$2""#
      case zstd = #"zstd -q --stdout "$1" > "$2""#
      case gzip = #"gzip -1 --stdout "$1" > "$2""#
      case gzipJoined = #"split -b 3M --filter='gzip -1' "$1" > "$2""#

      var program: String { rawValue.contains("pzstd") ? "pzstd" : suffix == "gz" ? "gzip" : testDescription }
      var suffix: String {
        switch self {
        case .xz, .xzJoined: "xz"
        case .pzstd, .zstd: "zst"
        case .gzip, .gzipJoined: "gz"
        }
      }
      var testDescription: String {
        switch self {
        case .xz, .xzJoined: "xz"
        case .pzstd, .zstd: "zstd"
        case .gzip, .gzipJoined: "gzip"
        }
      }
    }

    /// The same image, compressed, in a directory of its own.
    private func compress(_ raw: Image, _ tool: Tool) async throws -> Image {
      let path = try sandbox.directory("compressed") + "/disk.img." + tool.suffix
      try await shell(tool.rawValue, raw.path, path)
      return Image(existing: path)
    }

    private func makeFileSystem() async throws -> Image {
      let tree = try sandbox.directory("tree")
      // Something of each kind: text, random bytes, a hole.
      try await shell(
        """
        mkdir "$1/a" "$1/b"; seq 300000 > "$1/a/numbers"; head -c 3000000 /dev/urandom > "$1/b/random"
        truncate -s 5M "$1/b/hole"
        """, tree)
      let path = try sandbox.directory("image") + "/disk.img"
      try await run("mkfs.ext4", "-q", "-F", "-d", tree, path, "24M")
      return Image(existing: path)
    }

    @Test(
      .needs(.root, .fileSystem("ext4"), .program("mkfs.ext4"), .program("e2fsck"), .program("losetup")),
      .needs(.program("xz"), .program("zstd"), .program("pzstd"), .program("gzip")), arguments: Tool.allCases)
    func fileSystem(tool: Tool) async throws {
      let raw = try await makeFileSystem()
      let mount = try await sandbox.mount(compress(raw, tool))
      // The suffix is gone.
      #expect(try entries(mount.place) == ["disk.img"])
      let file = mount.place + "/disk.img"
      try await run("cmp", file, raw.path)

      let device = try await sandbox.loopDevice(file)
      let place = try sandbox.directory("guest")
      try await sandbox.mountOther(device, at: place)
      #expect(try await run("tail", "-n", "1", place + "/a/numbers") == "300000\n")
      try await shell(
        #"cp "$1/a/numbers" "$1/b/copy"; rm "$1/b/random"; seq 5 >> "$1/a/numbers"; sync -f "$1""#, place)
      try await run("umount", place)
      try await sandbox.detach(device)
      let check = try await attempt("e2fsck", ["-fn", file])
      #expect(check.succeeded, "\(check)")

      let again = try await sandbox.loopDevice(file, "--read-only")
      try await sandbox.mountOther("-o", "ro", again, at: place)
      try await shell(#"seq 300000 | cmp - "$1/b/copy"; test ! -e "$1/b/random""#, place)
    }

    @Test(.needs(.program("xz"), .program("zstd"), .program("pzstd"), .program("gzip")), arguments: Tool.allCases)
    func parallelReadsAndWrites(tool: Tool) async throws {
      let size = 6_000_123
      let mount = try await sandbox.mount(compress(sandbox.image(size: size), tool))
      let file = mount.place + "/disk.img"
      let seed = UInt64.random(in: 0...UInt64.max)
      // Each has a part of the file to itself, and knows what must be in it.
      try concurrently(4) { try Self.work(on: file, of: size, part: $0, seed: seed) }
    }

    private static func work(on path: String, of size: Int, part: Int, seed: UInt64) throws {
      let file = try TestFile(path)
      let share = size / 4 + 1
      let range = part * share..<min(size, (part + 1) * share)
      var random = SeededGenerator(seed: seed &+ UInt64(part))
      var expected = Image.content.bytes(range.count, at: range.lowerBound)
      for round in 0..<60 {
        let start = Int.random(in: range, using: &random)
        let count = Int.random(in: 1...min(100_000, range.upperBound - start), using: &random)
        let place = start - range.lowerBound..<start - range.lowerBound + count
        if Bool.random(using: &random) {
          let new = Pattern(seed: seed &+ UInt64(round)).bytes(count, at: start)
          try file.write(new, at: start)
          expected.replaceSubrange(place, with: new)
        } else {
          try WrongBytes.check(file, at: start, holds: Array(expected[place]), "seed \(seed)")
        }
      }
      try WrongBytes.check(file, at: range.lowerBound, holds: expected, "seed \(seed)")
    }

    // MARK: A seek table

    /// Frames and the table behind them that tells where they are, as the zstd seekable format has them.
    @Test(.needs(.program("zstd"))) func seekableZstd() async throws {
      let size = 5_000_017
      let raw = try sandbox.image(size: size)
      let path = try sandbox.directory("compressed") + "/disk.img.zst"
      let parts = try sandbox.directory("parts")
      try await shell(
        #"cd "$2"; split -b 500K --filter='zstd -q > $FILE; wc -c < $FILE' "$1" > sizes; cat x* > "$3""#, raw.path,
        parts,
        path)
      let compressed = try readText(parts + "/sizes").split(separator: "\n").compactMap { UInt32($0) }
      let file = try TestFile(path)
      try file.write(Self.seekTable(compressed, each: 500 << 10, of: size), at: file.size)
      file.close()

      let mount = try await sandbox.mount(Image(existing: path), "--verbose", staying: true)
      let exposed = try TestFile(mount.place + "/disk.img")
      try expectBase(exposed, size - 10..<size)
      try expectBase(exposed, 3_000_000..<3_700_000)
      try exposed.write([1, 2, 3], at: 4_000_000)
      try expect(exposed, at: 4_000_000, holds: [1, 2, 3])
      exposed.close()
      let result = try #require(try await mount.end(with: SIGTERM))
      #expect(result.errors.contains("\(compressed.count) blocks"), "\(result)")
    }

    private static func seekTable(_ compressed: [UInt32], each share: Int, of size: Int) -> [UInt8] {
      func bytes(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number.littleEndian) { Array($0) } }
      let entries = compressed.enumerated().flatMap { index, count in
        bytes(count) + bytes(UInt32(min(share, size - index * share)))
      }
      let footer = bytes(UInt32(compressed.count)) + [0] + bytes(0x8F92_EAB1)
      return bytes(0x184D_2A5E) + bytes(UInt32(entries.count + footer.count)) + entries + footer
    }

    // MARK: Damage

    @Test(.needs(.program("xz")))
    func damagedBlockAlone() async throws {
      let block = 64 << 10
      let image = try await compress(sandbox.image(size: 16 * block), .xz)
      try await shell(#"xz -d -k -c "$1" | xz -0 --block-size=64KiB > "$1.new"; mv "$1.new" "$1""#, image.path)
      try Self.damage(image)

      let mount = try await sandbox.mount(image)
      let file = try TestFile(mount.place + "/disk.img")
      let damaged = Self.unreadable(in: file, of: 16, each: block)
      #expect(damaged.count == 1)
      // What is written over it does not need it.
      let number = try #require(damaged.first)
      let new = Pattern(seed: 5).bytes(block)
      try file.write(new, at: number * block)
      try file.sync()
      try expect(file, at: number * block, holds: new)
    }

    /// Changes a bit in the middle of the file.
    private static func damage(_ image: Image) throws {
      let file = try TestFile(image.path)
      let middle = try file.size / 2
      try file.write(file.read(1, at: middle).map { $0 ^ 0x40 }, at: middle)
    }

    /// The blocks that cannot be read; all others must be right.
    private static func unreadable(in file: TestFile, of count: Int, each size: Int) -> [Int] {
      (0..<count).filter { number in
        guard let found = try? file.read(size, at: number * size) else { return true }
        expect(found, equals: Image.content.bytes(size, at: number * size), at: number * size)
        return false
      }
    }

    @Test(.needs(.program("xz"), .program("zstd"), .program("gzip"), .program("tar")))
    func refusals() async throws {
      let raw = try sandbox.image(size: 2_000_000)
      let place = try sandbox.directory("mnt")
      for tool in [Tool.xz, .zstd, .gzip] {
        let image = try await compress(raw, tool)
        let path = image.path
        try await shell(#"head -c 600000 "$1" > "$1.cut"; : > "$1.empty""#, path)
        try await shell(#"tar -C / -cf "$1.a" etc/passwd"#, path)
        try await shell(tool.rawValue, path + ".a", path + ".b")
        try await shell(tool.rawValue, raw.path, path + ".tar." + tool.suffix)
        try await expectRefusal([path + ".cut", place], naming: path + ".cut", "damaged", "--format raw")
        try await expectRefusal(["--format", "\(tool.testDescription)", path + ".empty", place], naming: "empty")
        try await expectRefusal(["--format", "\(tool.testDescription)", raw.path, place], naming: "no \(tool) file")
        try await expectRefusal([path + ".b", place], naming: path + ".b", "tar archive", "--format")
        try await expectRefusal([path + ".tar." + tool.suffix, place], naming: "tar archive")
      }
      let large = try await compress(raw, .xz).path
      try await expectRefusal(["--xz-max-block", "1M", "--format=gzip", large, place], naming: "no gzip file")
      try await expectRefusal(
        ["--xz-max-block", "1000k", large, place], naming: "1048576", "xz --block-size=16M", "raise --max-block")
      let single = try await compress(raw, .zstd).path
      try await expectRefusal(["--xz-max-block", "1M", single, place], naming: "one piece", "pzstd", "--decompress")
      for option in ["--format=bzip2", "--max-block=0", "--xz-max-depth=0", "--xz-max-depth=x"] {
        try await expectRefusal([option, large, place], naming: String(option.prefix { $0 != "=" }), status: 64)
      }
    }

    // MARK: Other ways to use such a file

    @Test(.needs(.program("xz")))
    func rawFormatShowsTheFileItself() async throws {
      let image = try await compress(sandbox.image(size: 100_000), .xz)
      let mount = try await sandbox.mount(image, "--format", "raw")
      #expect(try entries(mount.place) == ["disk.img.xz"])
      try await run("cmp", mount.file, image.path)
    }

    @Test(.needs(.program("zstd")), arguments: [[], ["--memory"]])
    func decompressedOnce(options: [String]) async throws {
      let raw = try sandbox.image(size: 8 << 20, data: [1 << 20..<2 << 20, 5 << 20..<6 << 20])
      let image = try await compress(raw, .zstd)
      let place = try sandbox.directory("mnt")
      // Not by Sandbox.mount, which gives an overlay directory.
      let mounted = try await attempt(
        Host.cowmount, options + ["--decompress", "--xz-max-block=1M", image.path, place])
      #expect(mounted.succeeded && mounted.errors.isEmpty, "\(mounted)")
      let file = try TestFile(place + "/disk.img")
      try expectBase(file, 1 << 20..<2 << 20)
      try expectZeros(file, 2 << 20..<5 << 20)
      #expect(try file.dataRanges() == [1 << 20..<2 << 20, 5 << 20..<6 << 20])
      let new = Pattern(seed: 9).bytes(5000)
      try file.write(new, at: 3 << 20)
      try file.sync()
      try expect(file, at: 3 << 20, holds: new)
      file.close()
      try await run(Host.isRoot ? "umount" : "fusermount3", Host.isRoot ? "--" : "-u", place)
      #expect(try await eventually { Daemon.find(mentioning: place).isEmpty })
    }

    /// The dictionary that a header asks for, 4 GiB here, is no reason to take so much memory.
    @Test(.needs(.program("xz"), .root)) func dictionariesAreLimited() async throws {
      let raw = try sandbox.image(size: 1 << 20)
      let path = try sandbox.directory("compressed") + "/disk.img.xz"
      try await shell(#"xz -0 --threads=1 --stdout "$1" > "$2""#, raw.path, path)
      // The first block's header: its size, flags, LZMA2 with one byte of options, and the checksum of it all.
      let file = try TestFile(path)
      var header = try file.read(12, at: 12)
      try #require(header[0] == 2 && header[1] == 0 && header[2] == 0x21 && header[3] == 1)
      header[4] = 40
      let checksum = header[..<8].reduce(~0 as UInt32) { value, byte in
        (0..<8).reduce(value ^ UInt32(byte)) { value, _ in value >> 1 ^ (value & 1 == 1 ? 0xEDB8_8320 : 0) }
      }
      header.replaceSubrange(8..., with: withUnsafeBytes(of: (~checksum).littleEndian) { Array($0) })
      try file.write(header, at: 12)
      let place = try sandbox.directory("mnt")
      try await shell(#"ulimit -v 3000000; exec "$@""#, Host.cowmount, path, place)
      try expectBase(TestFile(place + "/disk.img", O_RDONLY), 0..<1 << 20)
      try await run("umount", place)
      #expect(try await eventually { Daemon.find(mentioning: place).isEmpty })
      // Where a file is decompressed as a whole, its blocks' sizes are not known, and the limit is one of bytes.
      try await expectRefusal(
        ["--decompress", "--xz-max-block=64k", path, sandbox.directory("mnt")], naming: path, "memory")
    }

    /// One budget for the copy and the overlay.
    @Test(.needs(.program("zstd"), .root), arguments: [[], ["--memory"]])
    func decompressedCopyCountsAsOverlay(options: [String]) async throws {
      let raw = try sandbox.image(size: 16 << 20, data: [1 << 20..<2 << 20, 5 << 20..<6 << 20])
      let image = try await compress(raw, .zstd).path
      let place = try sandbox.directory("mnt")
      let arguments = options + ["--decompress", "--xz-max-block=1M"]
      try await expectRefusal(
        arguments + ["--max-overlay", "1M", image, place], naming: image, "1048576", "--max-overlay")
      let mounted = try await attempt(Host.cowmount, arguments + ["--max-overlay", "3M", image, place])
      #expect(mounted.succeeded, "\(mounted)")
      sandbox.atEnd { try await run("umount", place) }
      let file = try TestFile(place + "/disk.img", O_RDWR | O_DIRECT)
      #expect(try available(place) == 1 << 20)
      try file.write(Pattern(seed: 9).bytes(1 << 20), at: 8 << 20)
      #expect(throws: Errno.noSpace) { try file.write(Pattern(seed: 9).bytes(4096), at: 9 << 20) }
    }

    /// Without --max-overlay, memory takes half of the machine's, whatever is decompressed to it.
    @Test(.needs(.program("zstd"), .root)) func memoryHasALimit() async throws {
      let half = Int(sysconf(CInt(_SC_PHYS_PAGES))) / 2 * Int(sysconf(CInt(_SC_PAGESIZE)))
      let size = half + 64 << 20
      let raw = try sandbox.image(size: 4 << 20, data: [1 << 20..<2 << 20])
      let image = try await compress(raw, .zstd).path
      for (arguments, taken) in [([raw.path], 0), (["--decompress", "--xz-max-block=1M", image], 1 << 20)] {
        let place = try sandbox.directory("mnt")
        let options = ["--memory", "--size", "\(size)"]
        let mounted = try await attempt(Host.cowmount, options + arguments + [place])
        #expect(mounted.succeeded, "\(mounted)")
        sandbox.atEnd { try await run("umount", place) }
        #expect(try half - taken - 4096...half - taken ~= available(place))
      }
    }

    private func available(_ path: String) throws -> Int {
      var shown = statvfs()
      try TestFile.check(statvfs(path, &shown))
      return Int(shown.f_bavail * shown.f_frsize)
    }

    @Test(.needs(.program("xz"), .program("gzip")))
    func foregroundSaysWhatItFound() async throws {
      for tool in [Tool.xz, .gzip] {
        let image = try await compress(sandbox.image(size: 3_000_000), tool)
        let mount = try await sandbox.mount(image, "--verbose", staying: true)
        let result = try #require(try await mount.end(with: SIGTERM))
        #expect(result.errors.contains("is \(tool.testDescription) by its first bytes:"), "\(result)")
        #expect(result.errors.contains("3000000 bytes"), "\(result)")
      }
    }
  }
}
