// The header of VDI images, version 1.1. All numbers are little-endian.

internal import CopyOnWrite
internal import Images

/// Reads VDI headers.
enum VdiHeader {
  static let magic: [UInt8] = [0x7F, 0x10, 0xDA, 0xBE]
  static let magicOffset = 64

  /// Undo and differencing images.
  private static let parentTypes: Set<UInt32> = [3, 4]

  static func read(_ reader: HeaderReader) throws(VirtualDiskFault) -> VirtualDiskHeader {
    guard try reader.bytes(upTo: 4, at: UInt64(magicOffset)) == magic else { throw .otherFormat }
    let header = try reader.bytes(512, at: 0)
    let version: UInt32 = header.integer(at: 68)
    guard version == 0x0001_0001 else { throw .unsupported("it is of version \(version >> 16).\(version & 0xFFFF)") }
    let type: UInt32 = header.integer(at: 76)
    // The identifiers of images that it depends on.
    let links = header[424..<456]
    if parentTypes.contains(type) || links.contains(where: { $0 != 0 }) {
      throw .unsupported(VirtualDiskError.differencing)
    }

    let (map, data): (UInt32, UInt32) = (header.integer(at: 340), header.integer(at: 344))
    let size: UInt64 = header.integer(at: 368)
    let blockSize: UInt32 = header.integer(at: 376)
    let (blocks, allocated): (UInt32, UInt32) = (header.integer(at: 384), header.integer(at: 388))
    guard blockSize >= 512, size <= UInt64(Int64.max), size <= UInt64(blocks) * UInt64(blockSize), allocated <= blocks
    else {
      throw .nonsense("\(blocks) blocks of \(blockSize) bytes, \(allocated) of them in use, do not make \(size) bytes")
    }
    guard reader.has(UInt64(blocks) * 4, at: UInt64(map)) else { throw .cutOff("it ends before its block map") }
    // The blocks in use lie one behind the other.
    let (used, overflow) = (UInt64(allocated) * UInt64(blockSize)).addingReportingOverflow(UInt64(data))
    guard !overflow, used <= reader.size else { throw .cutOff("it ends before the last of its blocks that are in use") }
    return VirtualDiskHeader(size: size)
  }
}
