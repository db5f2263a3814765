// The parts of VHDX images that say how large the disk is and whether it depends on another one ([MS-VHDX]): a table of
// regions, one of which has the metadata. All numbers are little-endian. Checksums, the log and the block table are left to
// QEMU, which checks them all, and whether the file is whole.

internal import CopyOnWrite
internal import Images

/// Reads VHDX headers.
enum VhdxHeader {
  static let magic = Array("vhdxfile".utf8)

  private static let regionTable: UInt64 = 192 << 10
  private static let tableSize = 64 << 10
  private static let metadataRegion = GUID(
    [0x06, 0xA2, 0x7C, 0x8B, 0x90, 0x47, 0x9A, 0x4B, 0xB8, 0xFE, 0x57, 0x5F, 0x05, 0x0F, 0x88, 0x6E])
  private static let fileParameters = GUID(
    [0x37, 0x67, 0xA1, 0xCA, 0x36, 0xFA, 0x43, 0x4D, 0xB3, 0xB6, 0x33, 0xF0, 0xAA, 0x44, 0xE7, 0x6B])
  private static let diskSize = GUID(
    [0x24, 0x42, 0xA5, 0x2F, 0x1B, 0xCD, 0x76, 0x48, 0xB2, 0x11, 0x5D, 0xBE, 0xD8, 0x3B, 0xF4, 0xB8])
  private static let parentLocator = GUID(
    [0x2D, 0x5F, 0xD3, 0xA8, 0x0B, 0xB3, 0x4D, 0x45, 0xAB, 0xF7, 0xD3, 0xD8, 0x48, 0x34, 0xAB, 0x0C])
  private static let hasParentBit: UInt32 = 1 << 1

  static func read(_ reader: HeaderReader) throws(VirtualDiskFault) -> VirtualDiskHeader {
    guard try reader.bytes(upTo: magic.count, at: 0) == magic else { throw .otherFormat }
    let region = try metadata(reader)
    let table = try reader.bytes(tableSize, at: region, part: "metadata")
    guard table.starts(with: "metadata".utf8) else { throw .nonsense("it has no metadata") }
    let count = Int(table.integer(at: 10, as: UInt16.self))
    guard 32 + count * 32 <= table.count else { throw .nonsense("it is said to have \(count) pieces of metadata") }

    var size: UInt64?
    for entry in (0..<count).map({ table[32 + $0 * 32..<64 + $0 * 32] }) {
      let item = GUID(entry[entry.startIndex..<entry.startIndex + 16])
      let (place, overflow) = region.addingReportingOverflow(UInt64(entry.integer(at: 16, as: UInt32.self)))
      guard !overflow else { throw .nonsense("its metadata is said to be behind all files") }
      switch item {
      case parentLocator: throw .unsupported(VirtualDiskError.differencing)
      case fileParameters:
        let flags: UInt32 = try reader.bytes(8, at: place, part: "metadata").integer(at: 4)
        if flags & hasParentBit != 0 { throw .unsupported(VirtualDiskError.differencing) }
      case diskSize: size = try reader.bytes(8, at: place, part: "metadata").integer(at: 0)
      default: break
      }
    }
    guard let size, size <= UInt64(Int64.max) else { throw .nonsense("it does not say how large its disk is") }
    return VirtualDiskHeader(size: size)
  }

  /// Where the region of the metadata is.
  private static func metadata(_ reader: HeaderReader) throws(VirtualDiskFault) -> UInt64 {
    let table = try reader.bytes(tableSize, at: regionTable, part: "table of regions")
    guard table.starts(with: "regi".utf8) else { throw .nonsense("it has no table of regions") }
    let count = Int(clamping: table.integer(at: 8, as: UInt32.self))
    guard count <= 2047 else { throw .nonsense("it is said to have \(count) regions") }
    for entry in (0..<count).map({ table[16 + $0 * 32..<48 + $0 * 32] })
    where GUID(entry[entry.startIndex..<entry.startIndex + 16]) == metadataRegion {
      return entry.integer(at: 16)
    }
    throw .nonsense("it has no region of metadata")
  }
}
