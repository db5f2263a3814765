// Virtual disks made by hand, byte by byte, as small as their formats allow, so that each can be broken in one place.

import TestSupport

@testable import VirtualDisks

extension HandmadeImage {
  func header(_ format: VirtualDiskFormat) throws(VirtualDiskFault) -> VirtualDiskHeader {
    try VirtualDiskHeader(of: reader, as: format)
  }

  func fault(_ format: VirtualDiskFormat) -> VirtualDiskFault? {
    do throws(VirtualDiskFault) {
      _ = try header(format)
      return nil
    } catch {
      return error
    }
  }

  var detected: VirtualDiskFormat? { (try? VirtualDiskFormat.detect(in: reader)) ?? nil }

  /// Places that headers have their fields in.
  static func fields(_ format: VirtualDiskFormat) -> [Range<UInt64>] {
    switch format {
    case .qcow2: [0..<120, 0x10000..<0x10010, 0x20000..<0x20010, 0x30000..<0x30010]
    case .vmdk: [0..<80, 512..<700, 21 * 512..<22 * 512, 26 * 512..<27 * 512]
    case .vhdx:
      [
        0..<16, 192 << 10..<192 << 10 + 100, 1 << 20..<1 << 20 + 200,
        (1 << 20) + (64 << 10)..<(1 << 20) + (64 << 10) + 24,
      ]
    case .vdi: [64..<90, 340..<460]
    case .vpc: [0..<80, 512..<560]
    }
  }

  static let diskSize: UInt64 = 1 << 20

  /// A whole disk of one mebibyte that depends on nothing.
  static func disk(_ format: VirtualDiskFormat) -> HandmadeImage {
    switch format {
    case .qcow2: qcow()
    case .vmdk: vmdk()
    case .vhdx: vhdx()
    case .vdi: vdi()
    case .vpc: vpc()
    }
  }

  /// Five clusters of 64 KiB: header, L1 table, reference count table, counts, and one with data.
  static func qcow(version: UInt32 = 3) -> HandmadeImage {
    var image = HandmadeImage(size: 5 << 16)
    image.put([0x51, 0x46, 0x49, 0xFB], at: 0)
    image.putBig(version, at: 4)
    image.putBig(UInt32(16), at: 20)
    image.putBig(diskSize, at: 24)
    image.putBig(UInt32(1), at: 36)
    image.putBig(UInt64(0x10000), at: 40)
    image.putBig(UInt64(0x20000), at: 48)
    image.putBig(UInt32(1), at: 56)
    if version == 3 {
      image.putBig(UInt32(4), at: 96)
      image.putBig(UInt32(104), at: 100)
    }
    image.putBig(UInt64(0x30000), at: 0x20000)
    for cluster in 0..<5 as Range<UInt64> { image.putBig(UInt16(1), at: 0x30000 + cluster * 2) }
    return image
  }

  mutating func putBackingFile(_ name: String) {
    putBig(UInt64(1024), at: 8)
    putBig(UInt32(name.utf8.count), at: 16)
    put(name.utf8, at: 1024)
  }

  /// A header extension of a qcow2 image, the only one.
  mutating func putExtension(_ kind: UInt32, _ bytes: some Collection<UInt8>, at offset: UInt64 = 104) {
    putBig(kind, at: offset)
    putBig(UInt32(bytes.count), at: offset + 4)
    put(bytes, at: offset + 8)
  }

  static let vmdkText = """
    # Disk DescriptorFile
    version=1
    CID=12345678
    parentCID=ffffffff
    createType="monolithicSparse"
    RW 2048 SPARSE "disk.vmdk"
    """

  /// Grains of 64 KiB: one directory entry, one table, and the first grain at sector 128.
  static func vmdk(text: String = vmdkText) -> HandmadeImage {
    var image = HandmadeImage(size: 256 * 512)
    image.put("KDMV".utf8, at: 0)
    image.put(UInt32(1), at: 4)
    image.put(UInt32(3), at: 8)
    image.put(diskSize / 512, at: 12)
    image.put(UInt64(128), at: 20)
    image.put(UInt64(1), at: 28)
    image.put(UInt64(20), at: 36)
    image.put(UInt32(512), at: 44)
    image.put(UInt64(26), at: 56)
    image.put(UInt64(128), at: 64)
    image.put(text.utf8, at: 512)
    image.put(UInt32(21), at: 26 * 512)
    image.put(UInt32(128), at: 21 * 512)
    return image
  }

  static func vhdx(flags: UInt32 = 0) -> HandmadeImage {
    var image = HandmadeImage(size: 4 << 20)
    image.put("vhdxfile".utf8, at: 0)
    let regions: UInt64 = 192 << 10
    image.put("regi".utf8, at: regions)
    image.put(UInt32(1), at: regions + 8)
    image.putGUID("8B7CA206-4790-4B9A-B8FE-575F050F886E", at: regions + 16)
    image.put(UInt64(1 << 20), at: regions + 32)
    let metadata: UInt64 = 1 << 20
    image.put("metadata".utf8, at: metadata)
    image.put(UInt16(2), at: metadata + 10)
    image.putGUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B", at: metadata + 32)
    image.put(UInt32(64 << 10), at: metadata + 48)
    image.putGUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8", at: metadata + 64)
    image.put(UInt32(64 << 10) + 8, at: metadata + 80)
    image.put(flags, at: metadata + (64 << 10) + 4)
    image.put(diskSize, at: metadata + (64 << 10) + 8)
    return image
  }

  /// A GUID as it is written, in the order of bytes that Microsoft's formats have.
  mutating func putGUID(_ text: String, at offset: UInt64) {
    let digits = text.filter { $0 != "-" }
    let bytes = stride(from: 0, to: 32, by: 2).map { place -> UInt8 in
      UInt8(digits.dropFirst(place).prefix(2), radix: 16) ?? 0
    }
    put([3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map { bytes[$0] }, at: offset)
  }

  /// One block of one mebibyte, in use.
  static func vdi() -> HandmadeImage {
    var image = HandmadeImage(size: 1024 + diskSize)
    image.put([0x7F, 0x10, 0xDA, 0xBE], at: 64)
    image.put(UInt32(0x0001_0001), at: 68)
    image.put(UInt32(1), at: 76)
    image.put(UInt32(512), at: 340)
    image.put(UInt32(1024), at: 344)
    image.put(UInt32(512), at: 360)
    image.put(diskSize, at: 368)
    image.put(UInt32(1 << 20), at: 376)
    image.put(UInt32(1), at: 384)
    image.put(UInt32(1), at: 388)
    return image
  }

  static func vpc(type: UInt32 = 3) -> HandmadeImage {
    var image = HandmadeImage(size: 4096)
    image.putFooter(at: 0, type: type)
    image.put("cxsparse".utf8, at: 512)
    return image
  }

  mutating func putFooter(at offset: UInt64, type: UInt32, size: UInt64 = diskSize) {
    put("conectix".utf8, at: offset)
    putBig(UInt64(512), at: offset + 16)
    putBig(size, at: offset + 48)
    putBig(type, at: offset + 60)
  }
}
