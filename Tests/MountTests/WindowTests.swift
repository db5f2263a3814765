// Windows: a part of an image, cut off or made longer, as the exposed file; partitions by their number; and the list of
// them.

import Glibc
import TestSupport
import Testing

extension Mounted {
  @Suite struct Windows {
    // MARK: Size

    @Test(arguments: [10_001, 1_000_003, 4 << 30 + 1, 6 << 40 + 7])
    func larger(size: Int) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 10_000), "--size", "\(size)")
      let file = try mount.open()
      #expect(try file.size == size)
      try expectBase(file, 0..<10_000)
      try expectZeros(file, 10_000..<min(size, 100_000))
      #expect(try file.dataRanges() == [0..<min(size, 10_000)])

      // Over the base's end, and at the new one.
      let new = Pattern(seed: 3).bytes(min(5000, size - 9000))
      for offset in [9000, size - new.count] {
        try file.write(new, at: offset)
        try file.sync()
        try expect(file, at: offset, holds: new)
      }
      #expect(try file.size == size)
      try expectBase(file, 0..<5000)
      #expect(try file.read(10, at: size) == [])
      #expect(try status(mount.file).st_blocks * 512 < 1 << 20)
    }

    @Test(arguments: [0, 1, 4095, 4096, 5001, 129_999])
    func smaller(size: Int) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 130_000), "--size", "\(size)")
      let file = try mount.open()
      #expect(try file.size == size)
      try expectBase(file, 0..<size)
      #expect(try file.read(100, at: size) == [])
      if size > 0 {
        try file.write([7], at: size - 1)
        try file.sync()
        try expect(file, at: size - 1, holds: [7])
      }
      // What was cut off never comes back.
      try file.resize(130_000)
      try expectZeros(file, size..<130_000)
    }

    @Test(arguments: [
      (["--round-up", "512"], 1024), (["--round-up", "1000"], 1000), (["--round-up", "1"], 1000),
      (["--round-down", "512"], 512), (["--round-down", "1k"], 0), (["--round-down", "7"], 994),
      (["--round-up", "4k"], 4096), (["--size", "5000", "--round-up", "4k"], 8192),
      (["--size", "5000", "--round-down", "4k"], 4096), (["--round-down", "1000", "--round-up", "700"], 1000),
      (["--size", "1500", "--round-up", "700", "--round-down", "1k"], 2048), (["--size=1M", "--round-up=1G"], 1 << 30),
    ])
    func roundings(options: [String], size: Int) async throws {
      let place = try sandbox.directory("mnt")
      let result = try await attempt(Host.cowmount, options + [sandbox.image(size: 1000).path, place])
      #expect(result.succeeded, "\(result)")
      let file = try TestFile(place + "/disk.img")
      #expect(try file.size == size)
      try expectBase(file, 0..<min(1000, size))
      if size > 1000 { try expectZeros(file, 1000..<min(size, 9000)) }
      file.close()
      try await run("fusermount3", "-u", place)
    }

    // MARK: Offset and length

    @Test(arguments: [
      (["--offset", "1234567"], 1_234_567..<3_000_001), (["--offset=1", "--length=1"], 1..<2),
      (["--offset", "1234567", "--length", "1000001"], 1_234_567..<2_234_568), (["--length", "4095"], 0..<4095),
      (["--offset=3000001"], 3_000_001..<3_000_001), (["-o", "offset=1k,length=1M"], 1024..<1024 + 1 << 20),
    ])
    func parts(options: [String], part: Range<Int>) async throws {
      let image = try sandbox.image(size: 3_000_001)
      let place = try sandbox.directory("mnt")
      let result = try await attempt(Host.cowmount, options + [image.path, place])
      #expect(result.succeeded, "\(result)")
      let file = try TestFile(place + "/disk.img")
      #expect(try file.size == part.count)
      for start in stride(from: 0, to: part.count, by: 1 << 20) {
        let count = min(1 << 20, part.count - start)
        try expect(file, at: start, holds: Image.content.bytes(count, at: part.lowerBound + start))
      }
      file.close()
      try await run("fusermount3", "-u", place)
    }

    @Test(arguments: ["4k", "64k"])
    func randomWork(blockSize: String) async throws {
      let part = 1_000_001..<2_345_678
      let size = part.count + 77_777
      let mount = try await sandbox.mount(
        sandbox.image(size: 3_000_000), "--offset", "\(part.lowerBound)", "--length", "\(part.count)",
        "--size", "\(size)", "--block-size", blockSize)
      var model = Image.content.bytes(part.count, at: part.lowerBound) + zeros(size - part.count)
      var random = SeededGenerator(seed: 5)
      let cached = try mount.open()
      let direct = try mount.open(O_RDWR | O_DIRECT)
      for step in 0..<300 {
        let start = Int.random(in: 0..<size, using: &random)
        let count = Int.random(in: 1...min(size - start, 20_000), using: &random)
        switch step % 4 {
        case 0:
          let new = Pattern(seed: UInt64(step)).bytes(count)
          try cached.write(new, at: start)
          model.replaceSubrange(start..<start + count, with: new)
        case 1:
          try cached.allocate(.punchHole, start..<start + count)
          model.replaceSubrange(start..<start + count, with: zeros(count))
        case 2:
          try cached.sync()
          let block = start / 4096 * 4096
          try expect(direct, at: block, holds: Array(model[block..<min(size, block + 8192)]))
        default:
          try expect(cached, at: start, holds: Array(model[start..<start + count]))
        }
      }
      try expect(cached, at: 0, holds: model)
    }

    @Test func holesAtOddPlaces() async throws {
      let image = try sandbox.image(size: 4 << 20, data: [0..<1 << 20, 3 << 20..<4 << 20])
      let mount = try await sandbox.mount(image, "--offset", "12345", "--size", "5000000")
      let file = try mount.open()
      let expected = [0..<(1 << 20) - 12345, (3 << 20) - 12345..<(4 << 20) - 12345]
      #expect(try file.dataRanges() == expected)
      #expect(try file.nextHole((1 << 20) - 12346) == (1 << 20) - 12345)
      let space = try Int(file.status().st_blocks) * 512
      #expect(space >= (2 << 20) - 12345 && space < (2 << 20) + 8192)
      let copy = sandbox.path + "/copy"
      try await run("cp", "--sparse=auto", mount.file, copy)
      try await run("cmp", copy, mount.file)
      #expect(try status(copy).st_blocks * 512 < 3 << 20)
    }

    @Test func pastFourGiB() async throws {
      let start = 5 << 30 + 4097
      let data = 5 << 30..<5 << 30 + 1 << 20
      let image = try sandbox.image(size: 12 << 30, data: [data])
      let mount = try await sandbox.mount(image, "--offset", "\(start)")
      let file = try mount.open()
      #expect(try file.size == 12 << 30 - start)
      try expect(file, at: 0, holds: Image.content.bytes(data.upperBound - start, at: start))
      try expectZeros(file, 4 << 30..<4 << 30 + 8192)
      let new = Pattern(seed: 9).bytes(8192)
      try file.write(new, at: 4 << 30 - 4096)
      try file.sync()
      try expect(file, at: 4 << 30 - 4096, holds: new)
      try expect(file, at: 0, holds: Image.content.bytes(100_000, at: start))
    }

    // MARK: Partitions

    /// Makes an image whose partitions have an ext4 each, with the partition's number in a file.
    private func partitioned(_ script: String, size: String = "96M", filled numbers: [Int]) async throws -> Image {
      let path = try sandbox.directory("image") + "/disk.img"
      try await shell(#"truncate -s "$1" "$2"; printf "$3" | sfdisk --quiet "$2""#, size, path, script)
      for number in numbers {
        let row = try await run("sfdisk", "--dump", path).split(separator: "\n").first {
          $0.hasPrefix("\(path)\(number) :")
        }
        try await fill(path, number: number, row: String(try #require(row)))
      }
      chmod(path, 0o444)
      return Image(existing: path)
    }

    private func fill(_ path: String, number: Int, row: String) async throws {
      func sectors(_ key: String) throws -> Int {
        let part = try #require(row.split(separator: ",").first { $0.contains(key) })
        return try #require(Int(part.split { $0 == "=" || $0 == " " }.last ?? ""))
      }
      let tree = try sandbox.directory("tree")
      try await shell(#"echo "partition $1" > "$2/which"; head -c 300000 /dev/urandom > "$2/data""#, "\(number)", tree)
      try await run(
        "mkfs.ext4", "-q", "-F", "-E", "offset=\(sectors("start=") * 512)", "-d", tree, path,
        "\(sectors("size=") / 2)k")
    }

    /// Mounts what a partition holds without telling where it is, writes, and checks.
    private func useFileSystem(of mount: Mount, number: Int) async throws {
      let guest = try sandbox.directory("guest")
      try await sandbox.mountOther("-o", "loop", mount.file, at: guest)
      #expect(try MountEntry.at(guest)?.type == "ext4")
      #expect(try readText(guest + "/which") == "partition \(number)\n")
      try await shell(#"head -c 3000000 /dev/urandom > "$1/new"; rm "$1/data"; sync -f "$1"; fstrim "$1""#, guest)
      try await run("umount", guest)
      let check = try await attempt("e2fsck", ["-fn", mount.file])
      #expect(check.succeeded, "\(check)")
      try await sandbox.mountOther("-o", "loop,ro", mount.file, at: guest)
      #expect(try status(guest + "/new").st_size == 3_000_000)
      try await run("umount", guest)
    }

    @Test(
      .needs(.root, .fileSystem("ext4"), .program("mkfs.ext4"), .program("e2fsck"), .program("sfdisk")),
      arguments: [
        (#"label: gpt\nsize=32M\n,\n"#, 1), (#"label: gpt\nsize=32M\n,\n"#, 2), (#"label: dos\nsize=32M\n,\n"#, 2),
        (#"label: dos\nsize=20M\ntype=5\nsize=20M\n,\n"#, 6), (#"label: dos\nstart=63,size=40001\n,\n"#, 1),
      ])
    func fileSystemInAPartition(script: String, number: Int) async throws {
      let others = script.contains("type=5") ? [1, 5, 6] : [1, 2]
      let image = try await partitioned(script, filled: others)
      let mount = try await sandbox.mount(image, "--partition", "\(number)")
      try await useFileSystem(of: mount, number: number)
      try await mount.unmount()
    }

    @Test(.needs(.root, .fileSystem("ext4"), .program("mkfs.ext4"), .program("e2fsck"), .program("sfdisk")))
    func partitionPastFourGiB() async throws {
      let image = try await partitioned(#"label: gpt\nsize=5G\nsize=64M\n,\n"#, size: "8G", filled: [2])
      let mount = try await sandbox.mount(image, "-o", "partition=2")
      #expect(try mount.open().size == 64 << 20)
      try await useFileSystem(of: mount, number: 2)
      try await mount.unmount()
      let rest = try await sandbox.mount(image, "--partition", "3")
      #expect(try rest.open().size > 2 << 30)
    }

    /// A larger partition for the guest to grow into.
    @Test(.needs(.root, .fileSystem("ext4"), .program("mkfs.ext4"), .program("resize2fs"), .program("sfdisk")))
    func partitionMadeLarger() async throws {
      let image = try await partitioned(#"label: gpt\nsize=16M\n,\n"#, filled: [1])
      let mount = try await sandbox.mount(image, "--partition", "1", "--size", "200M")
      #expect(try mount.open().size == 200 << 20)
      try await run("e2fsck", "-fp", mount.file)
      try await run("resize2fs", mount.file)
      try await useFileSystem(of: mount, number: 1)
    }

    @Test(.needs(.root, .program("losetup"), .program("sfdisk")), arguments: ["dos", "gpt"])
    func sectorsOf4096Bytes(label: String) async throws {
      let image = try sandbox.image(size: 64 << 20, data: [1 << 20..<64 << 20 - 1 << 20], mode: 0o644)
      let device = try await sandbox.loopDevice(image.path, "--sector-size", "4096")
      try await shell(
        #"printf "label: $2\nsize=10M\n,\n" | sfdisk --quiet --no-reread --no-tell-kernel "$1""#, device, label)
      try await sandbox.detach(device)
      let mount = try await sandbox.mount(image, "--partition", "2")
      let file = try mount.open()
      let start = 11 << 20
      #expect(try file.size > 50 << 20)
      try expect(file, at: 0, holds: Image.content.bytes(1 << 20, at: start))
      try file.write([1, 2, 3], at: 4095)
      try file.sync()
      try expect(file, at: 4094, holds: Image.content.bytes(1, at: start + 4094) + [1, 2, 3])
      let list = try await run(Host.cowmount, "partitions", image.path)
      #expect(list.contains("sectors of 4096 bytes"))
    }

    @Test(.needs(.program("sfdisk")))
    func nameStays() async throws {
      let image = try await partitioned(#"label: gpt\nsize=1M\n,\n"#, filled: [])
      let mount = try await sandbox.mount(image, "--partition", "1")
      #expect(try entries(mount.place) == ["disk.img"])
      #expect(try MountEntry.at(mount.place)?.source == image.path)
      #expect(try mount.open().size == 1 << 20)
      let named = try await sandbox.mount(image, "--partition", "1", "--name", "root.img")
      #expect(try entries(named.place) == ["root.img"])
    }

    @Test(.needs(.program("sfdisk")))
    func damagedPrimaryTable() async throws {
      let image = try await partitioned(#"label: gpt\nsize=1M,name=one\n,\n"#, filled: [])
      chmod(image.path, 0o644)
      try TestFile(image.path).write([0xFF], at: 512 + 40)
      let place = try sandbox.directory("mnt")
      let result = try await attempt(Host.cowmount, ["--partition", "1", image.path, place])
      #expect(result.succeeded && result.errorLines.count == 1, "\(result)")
      #expect(result.errors.contains("primary GPT") && result.errors.contains("backup is used"))
      #expect(try status(place + "/disk.img").st_size == 1 << 20)
      try await run("fusermount3", "-u", place)

      let list = try await attempt(Host.cowmount, ["partitions", image.path])
      #expect(list.succeeded && list.output.contains("one") && list.errors.contains("backup is used"), "\(list)")
      let json = try await attempt(Host.cowmount, ["partitions", "--json", image.path])
      #expect(json.succeeded && json.output.contains("backup is used") && json.errors.isEmpty, "\(json)")
    }

    @Test(.needs(.program("sfdisk")))
    func list() async throws {
      let script = #"label: dos\nlabel-id: 0x12345678\nsize=2M,type=c,bootable\ntype=5\nsize=3M\nsize=3072,type=82\n"#
      let image = try await partitioned(script, size: "64M", filled: [])
      let result = try await attempt(Host.cowmount, ["partitions", image.path])
      #expect(result.succeeded && result.errors.isEmpty, "\(result)")
      #expect(
        result.output == """
          \(image.path): MBR 0x12345678, sectors of 512 bytes, 67108864 bytes (64 MiB)
          NUMBER    START      SIZE    HUMAN  BOOT  TYPE                  NAME
               1  1048576   2097152    2 MiB  *     W95 FAT32 (LBA)
               2  3145728  63963136   61 MiB        Extended
               5  4194304   3145728    3 MiB        Linux
               6  8388608   1572864  1.5 MiB        Linux swap / Solaris

          """)
      let json = try await attempt(Host.cowmount, ["partitions", "--json", image.path])
      #expect(json.succeeded && json.errors.isEmpty, "\(json)")
      #expect(
        json.output.contains(
          """
              {
                "number": 6,
                "start": 8388608,
                "size": 1572864,
                "type": "0x82",
                "typeName": "Linux swap / Solaris",
                "name": "",
                "uuid": "12345678-06",
                "boot": false,
                "container": false
              }
            ]
          }
          """))
    }

    /// A name in a table is the image's, and must do nothing to the terminal or to who reads the JSON.
    @Test(.needs(.program("sfdisk")))
    func hostileNames() async throws {
      let image = try await partitioned(#"label: gpt\nsize=1M,name=abcdefg\n"#, filled: [])
      chmod(image.path, 0o644)
      // In the list, entries are behind a checksum: both headers would have to be signed again, so sfdisk does it.
      let path = image.path
      let result = try await attempt("sfdisk", ["--quiet", "--part-label", path, "1", "a\u{1B}[2J\"\\\u{9B}z\nö"])
      #expect(result.succeeded, "\(result)")
      let list = try await run(Host.cowmount, "partitions", path)
      #expect(list.unicodeScalars.allSatisfy { $0 == "\n" || $0.properties.generalCategory != .control }, "\(list)")
      let json = try await run(Host.cowmount, "partitions", "--json", path)
      #expect(json.unicodeScalars.allSatisfy { $0 == "\n" || $0.properties.generalCategory != .control }, "\(json)")
      #expect(json.contains(#""a\u001b[2J\"\\"#))
    }

    // MARK: Refusals

    private func refuse(_ options: [String], naming words: String..., status: Int32? = 64) async throws {
      for word in words {
        try await expectRefusal(
          options + [sandbox.image(size: 1000).path, sandbox.directory("mnt")], naming: word, status: status)
      }
    }

    @Test(arguments: ["", "-1", "1.5k", "k", "0x10", "9999999999999G"])
    func badNumbers(text: String) async throws {
      for option in ["size", "round-up", "round-down", "offset", "length"] {
        try await refuse(["--\(option)=\(text)"], naming: option)
        try await refuse(["-o", "\(option)=\(text)"], naming: option)
      }
    }

    @Test func badCombinations() async throws {
      try await refuse(["--partition", "0"], naming: "--partition")
      try await refuse(["--partition", "one"], naming: "partition")
      try await refuse(["-o", "partition=-1"], naming: "partition")
      try await refuse(["--partition", "1", "--offset", "1"], naming: "--partition", "--offset")
      try await refuse(["--partition", "1", "-o", "length=1"], naming: "--partition", "--length")
      try await refuse(["--round-up", "0"], naming: "--round-up")
      try await refuse(["--round-down", "0"], naming: "--round-down")
      try await refuse(["--sector-size", "512"], naming: "--partition")
      try await refuse(["--sector-size", "1k", "--partition", "1"], naming: "--sector-size", "4096")
    }

    @Test func badParts() async throws {
      try await refuse(["--offset", "1001"], naming: "disk.img", "1000", "1001", status: 1)
      try await refuse(["--length", "1001"], naming: "disk.img", "1000", "1001", status: 1)
      try await refuse(["--offset", "500", "--length", "501"], naming: "disk.img", "501", status: 1)
      try await refuse(["--size", "9223372036854775807"], naming: "disk.img", "--size", status: 1)
      try await refuse(["--partition", "1"], naming: "disk.img", "partition table", status: 1)
    }

    @Test(.needs(.program("sfdisk")))
    func badTables() async throws {
      let image = try await partitioned(#"label: dos\nsize=1M\ntype=5\nsize=1M\nsize=1M\n"#, filled: [])
      chmod(image.path, 0o644)
      let place = try sandbox.directory("mnt")
      try await expectRefusal(["--partition", "3", image.path, place], naming: "no partition 3", status: 1)
      try await expectRefusal(["--partition", "2", image.path, place], naming: "5, 6", status: 1)
      // The link of the first extended boot record, which follows the first partition, to itself.
      let file = try TestFile(image.path)
      try file.write([0, 0, 0, 0], at: 2 << 20 + 446 + 16 + 8)
      for arguments in [["--partition", "1", image.path, place], ["partitions", image.path]] {
        try await expectRefusal(arguments, naming: "disk.img", "leads back", status: 1)
      }
      try file.resize(1 << 20)
      for arguments in [["--partition", "1", image.path, place], ["partitions", image.path]] {
        try await expectRefusal(arguments, naming: "disk.img", "partition 1", status: 1)
      }
      try await expectRefusal(["partitions", place], naming: place, "directory", status: 1)
      try await expectRefusal(["partitions", place + "/no"], naming: "no such image", status: 1)
      try await expectRefusal(["partitions"], naming: "image", status: 64)
      try await expectRefusal(["partitions", "--sector-size", "7", image.path], naming: "--sector-size", status: 64)
    }
  }
}
