// What is read from the headers of virtual disks: their size, whether they name other files, and whether they are whole.

import TestSupport
import Testing

@testable import VirtualDisks

@Suite struct VirtualDiskHeaderTests {
  @Test(arguments: VirtualDiskFormat.allCases)
  func `a whole disk that depends on nothing`(format: VirtualDiskFormat) throws {
    let image = HandmadeImage.disk(format)
    #expect(image.detected == format)
    #expect(try image.header(format) == VirtualDiskHeader(size: HandmadeImage.diskSize))
    for other in VirtualDiskFormat.allCases where other != format {
      #expect(image.fault(other) == .otherFormat)
    }
  }

  @Test func `raw disks are not taken for others`() {
    var image = HandmadeImage(size: 1 << 20)
    #expect(image.detected == nil)
    // A partition table.
    image.put([0x55, 0xAA], at: 510)
    image[450] = 0x83
    #expect(image.detected == nil)
    // The magic in another place.
    image.put([0x51, 0x46, 0x49, 0xFB], at: 512)
    image.putFooter(at: (1 << 20) - 512, type: 2)
    #expect(image.detected == nil)
    for size in [0, 1, 3, 511] as [UInt64] { #expect(HandmadeImage(size: size).detected == nil) }
    for format in VirtualDiskFormat.allCases { #expect(HandmadeImage(size: 0).fault(format) == .otherFormat) }
  }

  // MARK: qcow2

  @Test(arguments: [2, 3] as [UInt32])
  func `a qcow2 image that names a backing file`(version: UInt32) throws {
    for name in ["/etc/shadow", "base.raw", #"json:{"driver":"file","filename":"/etc/shadow"}"#, "nbd://host/"] {
      var image = HandmadeImage.qcow(version: version)
      image.putBackingFile(name)
      #expect(try image.header(.qcow2).reference == .init(kind: "a backing file", name: name))
    }
    var image = HandmadeImage.qcow(version: version)
    // A name of no bytes is one.
    image.putBackingFile("")
    #expect(try image.header(.qcow2).reference != nil)
    // What a name has in it must not steer the terminal.
    image.putBackingFile("a\n\u{1B}[2Jb")
    #expect(try image.header(.qcow2).reference?.name == "a\u{FFFD}\u{FFFD}[2Jb")
    image.putBackingFile(String(repeating: "n", count: 1024))
    #expect(image.fault(.qcow2)?.isNonsense == true)
  }

  @Test func `a qcow2 image with an external data file`() throws {
    var image = HandmadeImage.qcow()
    image.putBig(UInt64(4), at: 72)
    #expect(try image.header(.qcow2).reference == .init(kind: "an external data file", name: ""))
    image.putExtension(0x4441_5441, "/etc/shadow".utf8)
    let reference = VirtualDiskHeader.Reference(kind: "an external data file", name: "/etc/shadow")
    #expect(try image.header(.qcow2).reference == reference)
    // Also where the header does not say that the name counts, and behind other extensions.
    image.putBig(UInt64(0), at: 72)
    #expect(try image.header(.qcow2).reference == reference)
    image.putExtension(0x6803_F857, [UInt8](repeating: 1, count: 47))
    image.putExtension(0x4441_5441, "/etc/shadow".utf8, at: 104 + 8 + 48)
    #expect(try image.header(.qcow2).reference == reference)
    image.putBig(UInt32(1 << 16), at: 108)
    #expect(image.fault(.qcow2)?.isNonsense == true)
  }

  @Test func `encrypted qcow2 images`() {
    for method in [1, 2] as [UInt32] {
      var image = HandmadeImage.qcow()
      image.putBig(method, at: 32)
      #expect(image.fault(.qcow2) == .encrypted)
    }
  }

  @Test func `internal snapshots are counted`() throws {
    var image = HandmadeImage.qcow()
    image.putBig(UInt32(7), at: 60)
    #expect(try image.header(.qcow2).snapshots == 7)
  }

  @Test(
    arguments: [(4, 0), (4, 4), (20, 8), (20, 22), (20, 64), (32, 3), (96, 7), (100, 103), (100, 1 << 17)]
      as [(UInt64, UInt32)])
  func `numbers of qcow2 that cannot be`(offset: UInt64, value: UInt32) {
    var image = HandmadeImage.qcow()
    image.putBig(value, at: offset)
    #expect(image.fault(.qcow2)?.isNonsense == true, "\(value) at \(offset)")
  }

  @Test func `tables of qcow2 that cannot be`() {
    for (offset, value) in [(24, 1 << 63), (24, 1 << 60), (40, 512), (48, 512)] as [(UInt64, UInt64)] {
      var image = HandmadeImage.qcow()
      image.putBig(value, at: offset)
      #expect(image.fault(.qcow2)?.isNonsense == true, "\(value) at \(offset)")
    }
    for (offset, value) in [(40, 1 << 40), (48, 1 << 40), (40, ~65535), (48, ~65535)] as [(UInt64, UInt64)] {
      var image = HandmadeImage.qcow()
      image.putBig(value, at: offset)
      #expect(image.fault(.qcow2)?.isCutOff == true, "\(value) at \(offset)")
    }
    var image = HandmadeImage.qcow()
    image.putBig(UInt32(1), at: 4)
    #expect(image.fault(.qcow2)?.isUnsupported == true)
    image.putBig(UInt32(3), at: 4)
    image.putBig(UInt64(32), at: 72)
    #expect(image.fault(.qcow2)?.isUnsupported == true)
  }

  @Test(arguments: 0...6 as ClosedRange<UInt32>)
  func `a qcow2 image that was cut off behind its tables`(order: UInt32) throws {
    let bits = UInt64(1) << UInt64(order)
    for last in [4, 5, 11, 100] as [UInt64] {
      var image = HandmadeImage.qcow()
      image.putBig(order, at: 96)
      // One count, of 1, in the place of that cluster; the lowest bits of a byte come first, and the highest byte.
      image.blocks[0x30000 / 512] = nil
      let place = bits < 8 ? last * bits / 8 : last * bits / 8 + bits / 8 - 1
      image[0x30000 + place] = bits < 8 ? 1 << UInt8(last * bits % 8) : 1
      image.size = last << 16
      #expect(image.fault(.qcow2)?.isCutOff == true, "cluster \(last)")
      image.size += 1
      #expect(image.fault(.qcow2) == nil, "cluster \(last)")
    }
  }

  // MARK: vmdk

  @Test func `a vmdk image that names a parent`() throws {
    let kind = "a parent image"
    let named = HandmadeImage.vmdkText + "\nparentFileNameHint=\"/etc/shadow\"\n"
    #expect(try HandmadeImage.vmdk(text: named).header(.vmdk).reference == .init(kind: kind, name: "/etc/shadow"))
    let identified = HandmadeImage.vmdkText.replacing("parentCID=ffffffff", with: "parentCID=fffffffe")
    #expect(try HandmadeImage.vmdk(text: identified).header(.vmdk).reference == .init(kind: kind, name: ""))
    // QEMU looks behind the header, wherever the header says that the text is; another text may be there.
    var image = HandmadeImage.vmdk()
    image.put(UInt64(40), at: 28)
    image.put(named.utf8, at: 40 * 512)
    #expect(try image.header(.vmdk).reference != nil)
    image = HandmadeImage.vmdk(text: named)
    image.put(UInt64(40), at: 28)
    #expect(try image.header(.vmdk).reference != nil)
    image = HandmadeImage(size: 4096)
    image.put("COWD".utf8, at: 0)
    image.put(UInt32(2048), at: 12)
    #expect(try image.header(.vmdk) == VirtualDiskHeader(size: 1 << 20))
    image.put(named.utf8, at: 512)
    #expect(try image.header(.vmdk).reference != nil)
  }

  /// Without a size in the header, QEMU opens whatever extents the text lists.
  @Test func `a vmdk image whose data is elsewhere`() throws {
    var image = HandmadeImage.vmdk()
    image.put(UInt64(0), at: 12)
    #expect(try image.header(.vmdk).reference?.kind == "files of data")
  }

  @Test(arguments: [
    "# Disk DescriptorFile\nversion=1\nRW 1 FLAT \"/etc/shadow\" 0\n", "version=1\nRW 1 FLAT \"/etc/shadow\" 0\n",
    "#\n# anything\n   \n\nversion=3\r\nRW 1 FLAT \"/etc/shadow\" 0\n",
    "version=2\nRW 3 ZERO\nRW 1 SPARSE \"/etc/shadow\"\n",
  ])
  func `a vmdk descriptor`(text: String) throws {
    var image = HandmadeImage(size: UInt64(text.utf8.count))
    image.put(text.utf8, at: 0)
    #expect(image.detected == .vmdk)
    #expect(try image.header(.vmdk).reference == .init(kind: "files of data", name: "/etc/shadow"))
  }

  @Test(arguments: ["", "#", "#!/bin/sh\n", "# comment\nversion=4\n", "version=1", "x\nversion=1\n", "version=10\n"])
  func `a text that is no vmdk descriptor`(text: String) {
    var image = HandmadeImage(size: 4096)
    image.put(text.utf8, at: 0)
    #expect(image.detected == nil)
  }

  @Test func `a vmdk image that was cut off`() {
    var image = HandmadeImage.vmdk()
    image.size = 128 * 512
    #expect(image.fault(.vmdk)?.isCutOff == true)
    image.size += 1
    #expect(image.fault(.vmdk) == nil)
    image.size = 100 * 512
    #expect(image.fault(.vmdk)?.isCutOff == true)
    image = HandmadeImage.vmdk()
    image.put(UInt32(300), at: 26 * 512)
    #expect(image.fault(.vmdk)?.isCutOff == true)
    // Written as a stream, what counts comes last.
    image = HandmadeImage.vmdk()
    image.put(UInt64.max, at: 56)
    #expect(image.fault(.vmdk)?.isCutOff == true)
    for block in 0..<1 as Range<UInt64> { image.blocks[254 + block] = image.blocks[block] }
    image.put(UInt64(26), at: 254 * 512 + 56)
    #expect(image.fault(.vmdk) == nil)
  }

  @Test func `numbers of vmdk that cannot be`() {
    for (offset, value) in [(12, 1 << 55), (20, 0), (20, 1 << 22), (12, .max)] as [(UInt64, UInt64)] {
      var image = HandmadeImage.vmdk()
      image.put(value, at: offset)
      #expect(image.fault(.vmdk)?.isNonsense == true, "\(value) at \(offset)")
    }
    for entries in [0, 513, .max] as [UInt32] {
      var image = HandmadeImage.vmdk()
      image.put(entries, at: 44)
      #expect(image.fault(.vmdk)?.isNonsense == true)
    }
  }

  // MARK: vhdx, vdi, vpc

  @Test func `differencing disks that QEMU does not read`() {
    #expect(HandmadeImage.vhdx(flags: 2).fault(.vhdx)?.isUnsupported == true)
    var image = HandmadeImage.vhdx()
    image.putGUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C", at: (1 << 20) + 32)
    #expect(image.fault(.vhdx)?.isUnsupported == true)
    for type in [3, 4] as [UInt32] {
      image = .vdi()
      image.put(type, at: 76)
      #expect(image.fault(.vdi)?.isUnsupported == true)
    }
    for place in [424, 455] as [UInt64] {
      image = .vdi()
      image[place] = 1
      #expect(image.fault(.vdi)?.isUnsupported == true)
    }
    #expect(HandmadeImage.vpc(type: 4).fault(.vpc)?.isUnsupported == true)
  }

  @Test func `a vdi image that was cut off`() {
    var image = HandmadeImage.vdi()
    image.size -= 1
    #expect(image.fault(.vdi)?.isCutOff == true)
    image = .vdi()
    image.put(UInt32.max, at: 340)
    #expect(image.fault(.vdi)?.isCutOff == true)
    image = .vdi()
    image.put(UInt32(2), at: 388)
    #expect(image.fault(.vdi)?.isNonsense == true)
  }

  @Test func `a vhdx image without what it needs`() {
    for offset in [192 << 10, 1 << 20, 192 << 10 + 16, 1 << 20 + 64] as [UInt64] {
      var image = HandmadeImage.vhdx()
      image[offset] ^= 1
      #expect(image.fault(.vhdx)?.isNonsense == true, "\(offset)")
    }
    for size in [100, 192 << 10, 1 << 20, 1 << 20 + 64 << 10] as [UInt64] {
      var image = HandmadeImage.vhdx()
      image.size = size
      #expect(image.fault(.vhdx)?.isCutOff == true, "\(size)")
    }
  }

  @Test func `a vhd that ends within its first header`() {
    var image = HandmadeImage.vpc()
    for size in [8, 511] as [UInt64] {
      image.size = size
      #expect(image.detected == .vpc)
      #expect(image.fault(.vpc)?.isCutOff == true, "\(size)")
    }
  }

  /// It has its header at the end only, so it is used where it is asked for, and not told.
  @Test func `a fixed vhd`() throws {
    var image = HandmadeImage(size: HandmadeImage.diskSize + 512)
    image.putFooter(at: HandmadeImage.diskSize, type: 2)
    #expect(image.detected == nil)
    #expect(try image.header(.vpc).size == HandmadeImage.diskSize)
    image.putFooter(at: HandmadeImage.diskSize, type: 2, size: HandmadeImage.diskSize + 1)
    #expect(image.fault(.vpc)?.isCutOff == true)
  }

  // MARK: Names

  @Test(
    arguments: [
      (.qcow2, "disk.qcow2", "disk.img"), (.qcow2, "disk.QCOW2", "disk.img"), (.qcow2, "disk.img", "disk.img"),
      (.qcow2, "disk.img.qcow2", "disk.img"), (.qcow2, "disk.raw.qcow2", "disk.raw"), (.qcow2, ".qcow2", ".qcow2"),
      (.qcow2, "disk", "disk"), (.qcow2, "disk.vmdk", "disk.vmdk"), (.vmdk, "a.b.vmdk", "a.b.img"),
      (.vhdx, "disk.vhdx", "disk.img"), (.vdi, "disk.vdi", "disk.img"), (.vpc, "disk.vhd", "disk.img"),
    ] as [(VirtualDiskFormat, String, String)])
  func `the name of what is inside`(format: VirtualDiskFormat, name: String, inside: String) {
    #expect(format.nameInside(name) == inside)
  }
}

extension VirtualDiskFault {
  fileprivate var isNonsense: Bool { if case .nonsense = self { true } else { false } }
  fileprivate var isCutOff: Bool { if case .cutOff = self { true } else { false } }
  fileprivate var isUnsupported: Bool { if case .unsupported = self { true } else { false } }
}
