// The header of qcow2 images, versions 2 and 3 (QEMU, docs/interop/qcow2.txt). All numbers are big-endian.

internal import CopyOnWrite
internal import Images

/// Reads qcow2 headers.
enum QcowHeader {
  static let magic: [UInt8] = [0x51, 0x46, 0x49, 0xFB]

  /// What decides how the rest is laid out.
  private struct Layout {
    let clusterBits: Int
    let headerLength: Int
    let refcountOrder: Int
    var clusterSize: UInt64 { 1 << UInt64(clusterBits) }
  }

  private static let dataFileBit: UInt64 = 1 << 2
  /// Dirty, corrupt, data file, compression type, extended L2 entries.
  private static let knownFeatures: UInt64 = 0b11111
  private static let dataFileExtension: UInt32 = 0x4441_5441
  /// Limits of QEMU.
  private static let largestTable: UInt64 = 32 << 20
  private static let largestRefcountTable: UInt64 = 8 << 20
  private static let longestName = 1023

  static func read(_ reader: HeaderReader) throws(VirtualDiskFault) -> VirtualDiskHeader {
    let start = try reader.bytes(upTo: 4, at: 0)
    guard start == magic else { throw .otherFormat }
    let header = try reader.bytes(72, at: 0)
    let version: UInt32 = header.bigEndian(at: 4)
    guard version != 1 else { throw .unsupported("it is a qcow image of version 1") }
    guard version == 2 || version == 3 else { throw .nonsense("it says that it is of version \(version)") }
    let features = version == 2 ? 0 : try reader.bytes(8, at: 72).bigEndian(at: 0, as: UInt64.self)
    let layout = try layout(header, version: version, reader)
    let crypt: UInt32 = header.bigEndian(at: 32)
    guard crypt <= 2 else { throw .nonsense("it says that its encryption method is \(crypt)") }
    if crypt != 0 { throw .encrypted }
    guard features & ~knownFeatures == 0 else {
      throw .unsupported("it has features that are not known here (\(String(features & ~knownFeatures, radix: 16)))")
    }
    let size: UInt64 = header.bigEndian(at: 24)
    guard size <= UInt64(Int64.max) else { throw .nonsense("its disk is said to have \(size) bytes") }

    var result = VirtualDiskHeader(size: size, snapshots: header.bigEndian(at: 60))
    result.reference = try reference(header, features: features, layout, reader)
    try checkTables(header, size: size, layout, reader)
    try checkEnd(header, layout, reader)
    return result
  }

  private static func layout(
    _ header: [UInt8], version: UInt32, _ reader: HeaderReader
  ) throws(VirtualDiskFault) -> Layout {
    let clusterBits: UInt32 = header.bigEndian(at: 20)
    guard (9...21).contains(clusterBits) else {
      throw .nonsense("its clusters are said to have 2^\(clusterBits) bytes")
    }
    guard version == 3 else { return Layout(clusterBits: Int(clusterBits), headerLength: 72, refcountOrder: 4) }
    let more = try reader.bytes(8, at: 96)
    let order: UInt32 = more.bigEndian(at: 0)
    let length: UInt32 = more.bigEndian(at: 4)
    guard order <= 6 else { throw .nonsense("its reference counts are said to have 2^\(order) bits") }
    guard length >= 104, length <= 1 << clusterBits else {
      throw .nonsense("its header is said to have \(length) bytes")
    }
    return Layout(clusterBits: Int(clusterBits), headerLength: Int(length), refcountOrder: Int(order))
  }

  // MARK: Other files

  private static func reference(
    _ header: [UInt8], features: UInt64, _ layout: Layout, _ reader: HeaderReader
  ) throws(VirtualDiskFault) -> VirtualDiskHeader.Reference? {
    let dataFile = try dataFileName(header, layout, reader)
    if features & dataFileBit != 0 || dataFile != nil {
      return .init(kind: "an external data file", name: dataFile?.shown ?? "")
    }
    let offset: UInt64 = header.bigEndian(at: 8)
    guard offset != 0 else { return nil }
    let count: UInt32 = header.bigEndian(at: 16)
    guard offset <= layout.clusterSize, count <= longestName else {
      throw .nonsense("the name of its backing file is said to be \(count) bytes at \(offset)")
    }
    // QEMU takes a name that the file does not have for zeros, and so for a short one.
    return .init(kind: "a backing file", name: try reader.bytes(upTo: Int(count), at: offset).shown)
  }

  /// The name in the header's extension for data files, whether or not the header says that it counts.
  private static func dataFileName(
    _ header: [UInt8], _ layout: Layout, _ reader: HeaderReader
  ) throws(VirtualDiskFault) -> [UInt8]? {
    let backing: UInt64 = header.bigEndian(at: 8)
    let end = backing == 0 ? layout.clusterSize : min(layout.clusterSize, backing)
    let bytes = try reader.bytes(upTo: Int(end), at: 0)
    var offset = layout.headerLength
    while offset + 8 <= bytes.count {
      let kind: UInt32 = bytes.bigEndian(at: offset)
      let length = Int(bytes.bigEndian(at: offset + 4, as: UInt32.self))
      if kind == 0 { return nil }
      offset += 8
      guard length <= Int(end) - offset else {
        throw .nonsense("an extension of its header is said to have \(length) bytes")
      }
      if kind == dataFileExtension { return Array(bytes[offset...].prefix(min(length, longestName))) }
      offset += (length + 7) / 8 * 8
    }
    return nil
  }

  // MARK: Whether it is whole

  /// The tables through which everything is found: the active L1 table, and that of reference counts.
  private static func checkTables(
    _ header: [UInt8], size: UInt64, _ layout: Layout, _ reader: HeaderReader
  ) throws(VirtualDiskFault) {
    let entries: UInt32 = header.bigEndian(at: 36)
    let place: UInt64 = header.bigEndian(at: 40)
    let length = UInt64(entries) * 8
    // An L2 table is one cluster. (Extended entries have twice the size, so it maps half as much, and then there are more.)
    let mapped = UInt64(entries) << UInt64(2 * layout.clusterBits - 3)
    guard length <= largestTable, place % layout.clusterSize == 0, mapped >= size else {
      throw .nonsense("its first table is said to have \(entries) entries at \(place)")
    }
    guard reader.has(length, at: place) else { throw .cutOff("it ends before the tables that say where its data is") }
    let clusters: UInt32 = header.bigEndian(at: 56)
    let counts: UInt64 = header.bigEndian(at: 48)
    guard UInt64(clusters) << UInt64(layout.clusterBits) <= largestRefcountTable, counts % layout.clusterSize == 0
    else {
      throw .nonsense("its table of reference counts is said to have \(clusters) clusters at \(counts)")
    }
    guard clusters == 0 || reader.has(8, at: counts) else {
      throw .cutOff("it ends before the tables that say what of it is in use")
    }
  }

  /// Whether the file has the last cluster that is in use by its reference counts. QEMU would show zeros for those that are
  /// missing at the end.
  private static func checkEnd(
    _ header: [UInt8], _ layout: Layout, _ reader: HeaderReader
  ) throws(VirtualDiskFault) {
    let clusters: UInt32 = header.bigEndian(at: 56)
    let place: UInt64 = header.bigEndian(at: 48)
    let table = try reader.bytes(upTo: Int(clusters) << layout.clusterBits, at: place)
    guard let last = table.lastNonzero.map({ $0 / 8 }), last < table.count / 8 else { return }
    let block = table.bigEndian(at: last * 8, as: UInt64.self)
    guard block % layout.clusterSize == 0 else { throw .nonsense("its reference counts are said to be at \(block)") }
    let counts = try reader.bytes(upTo: 1 << layout.clusterBits, at: block)
    let cutOff = VirtualDiskFault.cutOff("it ends before the last of its clusters that are in use")
    guard !counts.isEmpty else { throw cutOff }
    guard let byte = counts.lastNonzero else { return }
    // Counts of less than a byte begin at its lowest bits.
    let bits = 1 << layout.refcountOrder
    let inByte = bits < 8 ? (7 - counts[byte].leadingZeroBitCount) / bits : 0
    let index = bits < 8 ? byte * 8 / bits + inByte : byte / (bits / 8)
    let inBlock = UInt64(8 << layout.clusterBits) / UInt64(bits)
    let cluster = UInt64(last) * inBlock + UInt64(index)
    let (start, overflow) = cluster.multipliedReportingOverflow(by: layout.clusterSize)
    guard !overflow, start < reader.size else { throw cutOff }
  }
}
