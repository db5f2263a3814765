// Tables that the real tools make, read by us and by them.

import DiskIO
import Images
import SystemPackage
import TestSupport
import Testing

@testable import PartitionTables

@Suite struct TableToolTests {
  private func table(_ path: String, sectorSize: UInt64? = nil) throws -> PartitionTable {
    try PartitionTable(of: RawImage(path: FilePath(path)), sectorSize: sectorSize)
  }

  private func sfdisk(_ path: String, _ script: String) throws {
    try Tool.run("printf '\(script)' | sfdisk --quiet '\(path)'")
  }

  /// A command of `fdisk` on each line; an empty one takes the default.
  private func fdisk(_ path: String, sectorSize: Int, _ commands: String) throws {
    try Tool.run("printf '\(commands)' | fdisk -b \(sectorSize) '\(path)' > /dev/null")
  }

  @Test(
    .enabled(if: Tool.has("sfdisk", "parted", "partx")),
    arguments: [
      #"label: dos\nsize=10M,bootable\n"#,
      #"label: dos\nsize=1M,type=c,bootable\nsize=20M\nsize=3M,type=82\ntype=7\n"#,
      #"label: dos\nsize=10M\ntype=5\nsize=3M\nsize=4M,type=82\nsize=5M,bootable\n"#,
      #"label: dos\nstart=63,size=1000\nstart=2000,type=f\nstart=3000,size=1000\nstart=5000,size=1\nstart=5002,size=1\n"#,
      #"label: dos\ntype=5\n"#,
      #"label: dos\n\n"#,
      #"label: gpt\nsize=10M,name="a b",attrs=LegacyBIOSBootable\nsize=1M,type=U\nsize=20M,type=S,name=ü\n,\n"#,
      #"label: gpt\nsize=1M\n\n"#,
    ])
  func `sfdisk's tables`(script: String) throws {
    try Tool.withFile { path in
      try sfdisk(path, script)
      let table = try table(path)
      #expect(try table.rows == Tool.sfdisk(path))
      #expect(try table.places == Tool.parted(path))
      #expect(try table.raw == Tool.partx(path))
      #expect(table.notes == [] && table.sectorSize == 512)
    }
  }

  @Test(.enabled(if: Tool.has("sfdisk", "parted", "partx")))
  func `tables after partitions were deleted`() throws {
    try Tool.withFile { path in
      try sfdisk(path, #"label: dos\nsize=1M\nsize=1M\ntype=5\nsize=3M\nsize=4M\nsize=5M\n,\n"#)
      for number in ["6", "1", "5", "5"] {
        try Tool.run("sfdisk --quiet --delete '\(path)' \(number)")
        #expect(try table(path).rows == Tool.sfdisk(path), "without \(number)")
      }
      try Tool.run("parted --script '\(path)' rm 5")
      #expect(try table(path).places == Tool.parted(path))
      #expect(try table(path).partitions.map(\.number) == [2, 3])
    }
  }

  @Test(.enabled(if: Tool.has("sfdisk", "partx")), arguments: 1...8)
  func `random layouts by sfdisk`(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let isGuid = seed % 2 == 0
    let count = Int.random(in: 4...20, using: &random)
    var lines = ["label: \(isGuid ? "gpt" : "dos")"]
    for index in 1...count {
      let size = "size=\(Int.random(in: 1...4000, using: &random))"
      let types = isGuid ? ["L", "S", "U", "V", "R", "H"] : ["83", "82", "c", "7", "8e", "fd", "ef"]
      let type = "type=\(types.randomElement(using: &random) ?? "")"
      lines.append(!isGuid && index == 4 ? "type=5" : "\(size),\(type)")
    }
    try Tool.withFile { path in
      try sfdisk(path, lines.joined(separator: #"\n"#) + #"\n"#)
      let table = try table(path)
      #expect(table.partitions.count == count)
      #expect(try table.rows == Tool.sfdisk(path))
      #expect(try table.raw == Tool.partx(path))
    }
  }

  @Test(.enabled(if: Tool.has("sgdisk", "sfdisk", "parted")))
  func `sgdisk's tables`() throws {
    try Tool.withFile { path in
      try Tool.run(
        """
        sgdisk -n 1:0:+1M -t 1:ef00 -c 1:ESP -n 3:0:+2M -c '3:Größe' -A 3:set:2 -n 128:0:0 -t 128:8e00 '\(path)'
        """)
      #expect(try table(path).rows == Tool.sfdisk(path))
      #expect(try table(path).places == Tool.parted(path))
      #expect(try table(path).partitions.map(\.number) == [1, 3, 128])
      // More than the usual 128 entries, which fill more sectors.
      try Tool.run("sgdisk -d 1 -d 3 -d 128 -S 500 '\(path)' && sgdisk -n 400:4096:+1M '\(path)'")
      #expect(try table(path).rows == Tool.sfdisk(path))
      #expect(try table(path).partitions.map(\.number) == [400])
    }
  }

  @Test(.enabled(if: Tool.has("sgdisk", "sfdisk")))
  func `hybrid tables`() throws {
    try Tool.withFile { path in
      try Tool.run("sgdisk -n 1:0:+1M -n 2:0:+2M -n 3:0:+3M '\(path)' && sgdisk --hybrid 1:3 '\(path)'")
      let table = try table(path)
      #expect(table.kind == .gpt && table.partitions.count == 3)
      #expect(try table.rows == Tool.sfdisk(path))
      #expect(table.notes.count == 1 && table.notes[0].contains("hybrid"))
    }
  }

  @Test(.enabled(if: Tool.has("sgdisk", "sfdisk")))
  func `a GPT turned into an MBR`() throws {
    try Tool.withFile { path in
      try Tool.run("sgdisk -n 1:0:+1M -n 2:0:+2M '\(path)' && sgdisk --gpttombr 1:2 '\(path)'")
      let table = try table(path)
      #expect(table.kind == .mbr && table.partitions.count == 2)
      #expect(try table.rows == Tool.sfdisk(path))
    }
  }

  @Test(
    .enabled(if: Tool.has("sgdisk", "sfdisk")),
    arguments: [(512, 16), (512 + 16, 4), (512 + 56, 16), (1024, 512), (512, 8192)])
  func `damaged GPTs, as sfdisk reads them from their backup`(offset: Int, count: Int) throws {
    try Tool.withFile { path in
      try Tool.run("sgdisk -n 1:0:+1M -c 1:one -n 2:0:+2M -n 7:0:0 '\(path)'")
      let expected = try table(path)
      try Tool.run("dd if=/dev/urandom of='\(path)' bs=1 seek=\(offset) count=\(count) conv=notrunc")
      let table = try table(path)
      #expect(table.partitions == expected.partitions && table.identifier == expected.identifier)
      #expect(table.notes.count == 1 && table.notes[0].hasPrefix("the primary GPT"), "\(table.notes)")
      #expect(try table.rows == Tool.sfdisk(path))
      // And both copies.
      try Tool.run("truncate -s -512 '\(path)'")
      #expect(throws: PartitionTableError.self) { try self.table(path) }
    }
  }

  @Test(.enabled(if: Tool.has("parted", "sfdisk", "partx")), arguments: [512, 4096], ["gpt", "msdos"])
  func `parted's tables`(sectorSize: Int, label: String) throws {
    try Tool.withFile { path in
      let isGuid = label == "gpt"
      try Tool.run(
        """
        export PARTED_SECTOR_SIZE=\(sectorSize)
        parted --script '\(path)' mklabel \(label) mkpart \(isGuid ? "one" : "primary") ext4 1MiB 10MiB \
          mkpart \(isGuid ? "two" : "extended") \(isGuid ? "xfs" : "") 10MiB 100% \
          \(isGuid ? "" : "mkpart logical 11MiB 20MiB mkpart logical ext4 21MiB 100%")
        """)
      let table = try table(path)
      #expect(table.sectorSize == UInt64(sectorSize))
      #expect(table.partitions.count == (isGuid ? 2 : 4))
      #expect(try table.places == Tool.parted(path, sectorSize: sectorSize))
      #expect(try table.raw == Tool.partx(path, sectorSize: sectorSize))
      if sectorSize == 512 { #expect(try table.rows == Tool.sfdisk(path)) }
    }
  }

  @Test(
    .enabled(if: Tool.has("fdisk", "parted", "partx")),
    arguments: [
      #"g\nn\n1\n\n+10M\nn\n5\n\n\nw\n"#, #"o\nn\np\n1\n\n+10M\nn\ne\n2\n\n\nn\n\n+20M\nn\n\n\nw\n"#,
      #"o\nn\np\n1\n\n+10M\nn\np\n2\n\n\nw\n"#,
    ])
  func `fdisk's tables with sectors of 4096 bytes`(commands: String) throws {
    try Tool.withFile { path in
      try fdisk(path, sectorSize: 4096, commands)
      let table = try table(path)
      #expect(table.sectorSize == 4096 && table.partitions.count >= 2)
      #expect(try table.places == Tool.parted(path, sectorSize: 4096))
      #expect(try table.raw == Tool.partx(path, sectorSize: 4096))
      #expect(try self.table(path, sectorSize: 4096) == table)
    }
  }

  @Test(.enabled(if: Tool.has("sfdisk")))
  func `sizes past 4 GiB and 2 TiB`() throws {
    try Tool.withFile(size: "3T") { path in
      try sfdisk(path, #"label: gpt\nsize=5G\nstart=10G,size=2T\n,\n"#)
      #expect(try table(path).rows == Tool.sfdisk(path))
      // What an MBR's numbers can still hold.
      try Tool.run("truncate -s 2T '\(path)'")
      try sfdisk(path, #"label: dos\nsize=5G\nsize=1T\ntype=5\nsize=700G\n"#)
      #expect(try table(path).rows == Tool.sfdisk(path))
    }
  }

  @Test(.enabled(if: Tool.has("sfdisk")))
  func `images cut off in a partition`() throws {
    for label in ["dos", "gpt"] {
      try Tool.withFile { path in
        try sfdisk(path, #"label: \#(label)\nsize=10M\nsize=20M\n"#)
        try Tool.run("truncate -s 20M '\(path)'")
        let error = #expect(throws: PartitionTableError.self) { try table(path) }
        #expect(error == .outOfRange(2, end: 31 << 20, size: 20 << 20))
      }
    }
  }

  @Test(.enabled(if: Tool.has("mkfs.vfat")))
  func `a FAT file system without a table`() throws {
    try Tool.withFile { path in
      try Tool.run("mkfs.vfat '\(path)'")
      #expect(throws: PartitionTableError.fileSystem("FAT")) { try table(path) }
    }
  }

  @Test(.enabled(if: Tool.has("mkfs.ext4")))
  func `an ext4 file system without a table`() throws {
    try Tool.withFile { path in
      try Tool.run("mkfs.ext4 '\(path)'")
      #expect(throws: PartitionTableError.noTable) { try table(path) }
    }
  }

  @Test(.enabled(if: Tool.has("sfdisk")), arguments: ["dos", "gpt"])
  func `types have sfdisk's names`(label: String) throws {
    var names: [String: String] = [:]
    for line in try Tool.run("sfdisk --list-types --label \(label)").split(separator: "\n") {
      let words = line.split(separator: " ", omittingEmptySubsequences: true)
      guard words.count > 1, words[0] != "Id" else { continue }
      names[words[0].uppercased()] = words[1...].joined(separator: " ")
    }
    let ours =
      label == "gpt"
      ? PartitionType.guids
      : Dictionary(uniqueKeysWithValues: PartitionType.bytes.map { (String($0, radix: 16, uppercase: true), $1) })
    for (code, name) in ours { #expect(names[code] == name, "\(code)") }
  }
}
