// The footer of VHD images, of which those that grow have a copy in front (Microsoft's "Virtual Hard Disk Image Format
// Specification"). All numbers are big-endian. The block table is left to QEMU, which checks whether the file is whole.

internal import CopyOnWrite
internal import Images

/// Reads VHD footers.
enum VpcHeader {
  static let magic = Array("conectix".utf8)

  private static let footerSize = 512
  private static let differencingType: UInt32 = 4

  static func read(_ reader: HeaderReader) throws(VirtualDiskFault) -> VirtualDiskHeader {
    let grows = try reader.bytes(upTo: magic.count, at: 0) == magic
    guard grows || reader.size >= footerSize else { throw .otherFormat }
    var footer = try reader.bytes(footerSize, at: 0)
    // One of a fixed size is a raw disk with the footer behind it.
    if !grows { footer = try reader.bytes(footerSize, at: reader.size - UInt64(footerSize)) }
    guard footer.starts(with: magic) else { throw .otherFormat }
    let type: UInt32 = footer.bigEndian(at: 60)
    if type == differencingType { throw .unsupported(VirtualDiskError.differencing) }
    let size: UInt64 = footer.bigEndian(at: 48)
    guard size <= UInt64(Int64.max) else { throw .nonsense("its disk is said to have \(size) bytes") }
    if grows {
      let place: UInt64 = footer.bigEndian(at: 16)
      let sparse = try reader.bytes(1024, at: place, part: "second header")
      guard sparse.starts(with: "cxsparse".utf8) else { throw .nonsense("it has no second header") }
    } else if size > reader.size - UInt64(footerSize) {
      throw .cutOff("its disk is said to have \(size) bytes")
    }
    return VirtualDiskHeader(size: size)
  }
}
