// The headers of VMDK images (VMware's "Virtual Disk Format 5.0", and what QEMU's block/vmdk.c makes of them): sparse
// images in one file, with a text in them that describes the disk, and descriptor files, which are such a text alone. All
// numbers are little-endian, and count sectors of 512 bytes.

internal import CopyOnWrite
internal import Images

/// Reads VMDK headers.
enum VmdkHeader {
  /// Of hosted sparse extents, and of those of ESX.
  static let magics = [Array("KDMV".utf8), Array("COWD".utf8)]

  private static let sector: UInt64 = 512
  /// Says that the header that counts is at the end.
  private static let directoryAtEnd = UInt64.max
  /// Limits of QEMU.
  private static let largestDirectory: UInt64 = 32 << 20
  private static let largestGrain: UInt64 = 1 << 21
  private static let mostEntries: UInt32 = 512
  /// Tables that are looked at to find the last piece of data.
  private static let mostTables = 64

  static func read(_ reader: HeaderReader) throws(VirtualDiskFault) -> VirtualDiskHeader {
    let start = try reader.bytes(upTo: 2048, at: 0)
    if start.starts(with: magics[0]) { return try sparse(reader) }
    if start.starts(with: magics[1]) { return try esx(reader) }
    guard VmdkDescriptor.isBegun(by: start) else { throw .otherFormat }
    return VmdkDescriptor.read(try reader.bytes(upTo: VmdkDescriptor.longest, at: 0))
  }

  private static func esx(_ reader: HeaderReader) throws(VirtualDiskFault) -> VirtualDiskHeader {
    let header = try reader.bytes(512, at: 0)
    let size = UInt64(header.integer(at: 12, as: UInt32.self)) * sector
    return VirtualDiskHeader(size: size, reference: try parent(reader, descriptor: nil))
  }

  private static func sparse(_ reader: HeaderReader) throws(VirtualDiskFault) -> VirtualDiskHeader {
    var header = try reader.bytes(512, at: 0)
    let descriptor: UInt64 = header.integer(at: 28)
    // Without a size of its own, its text may list any files, as that of a descriptor file does.
    if header.integer(at: 12, as: UInt64.self) == 0 {
      guard descriptor != 0 else { throw .nonsense("its disk is said to have 0 bytes") }
      return VirtualDiskHeader(size: 0, reference: .init(kind: "files of data", name: ""))
    }
    let isStream = header.integer(at: 56, as: UInt64.self) == directoryAtEnd
    if isStream { header = try footer(reader) }
    let capacity: UInt64 = header.integer(at: 12)
    let grain: UInt64 = header.integer(at: 20)
    let entries: UInt32 = header.integer(at: 44)
    guard (1...UInt64(Int64.max) / sector).contains(capacity), (1...largestGrain).contains(grain),
      (1...mostEntries).contains(entries)
    else {
      throw .nonsense("\(capacity) sectors in grains of \(grain), \(entries) to a table")
    }
    let data: UInt64 = header.integer(at: 64)
    guard data <= reader.size / sector else { throw .cutOff("it ends before its data") }
    let reference = try parent(reader, descriptor: descriptor)
    let tables = (capacity - 1) / (grain * UInt64(entries)) + 1
    guard tables * 4 <= largestDirectory else { throw .nonsense("it is said to have \(tables) tables") }
    let place: UInt64 = header.integer(at: 56)
    guard place <= reader.size / sector, reader.has(tables * 4, at: place * sector) else {
      throw .cutOff("it ends before the tables that say where its data is")
    }
    try checkEnd(reader, directory: place * sector, tables: Int(tables), entries: Int(entries))
    return VirtualDiskHeader(size: capacity * sector, reference: reference)
  }

  /// The header behind the data of an image that was written as a stream.
  private static func footer(_ reader: HeaderReader) throws(VirtualDiskFault) -> [UInt8] {
    let whole = reader.size / sector * sector
    guard whole >= 3 * sector else { throw .cutOff("it ends before its footer") }
    let footer = try reader.bytes(512, at: whole - 2 * sector)
    guard footer.starts(with: magics[0]) else { throw .cutOff("it ends before its footer") }
    return footer
  }

  /// The parent that the description names, where QEMU looks for it and where the header says.
  private static func parent(
    _ reader: HeaderReader, descriptor: UInt64?
  ) throws(VirtualDiskFault) -> VirtualDiskHeader.Reference? {
    var places = [sector]
    if let descriptor, descriptor > 1, descriptor <= reader.size / sector { places.append(descriptor * sector) }
    for place in places {
      let text = try reader.bytes(upTo: VmdkDescriptor.longestInside, at: place)
      if let parent = VmdkDescriptor.parent(in: text) { return parent }
    }
    return nil
  }

  /// Whether the file has the last grains that its tables point to. QEMU would show zeros for those that are missing at the
  /// end. Files are written in the order of the disk as a rule, so looking at the last tables finds what was cut off.
  private static func checkEnd(
    _ reader: HeaderReader, directory: UInt64, tables: Int, entries: Int
  ) throws(VirtualDiskFault) {
    let first = max(0, tables - mostTables)
    let places = try reader.bytes((tables - first) * 4, at: directory + UInt64(first) * 4, part: "tables")
    let cutOff = VirtualDiskFault.cutOff("it ends before the last of its data")
    for index in (0..<tables - first).reversed() {
      let place = UInt64(places.integer(at: index * 4, as: UInt32.self)) * sector
      guard place != 0 else { continue }
      guard reader.has(UInt64(entries) * 4, at: place) else { throw cutOff }
      let table = try reader.bytes(entries * 4, at: place)
      // 0 is nothing, and 1 may mean zeros.
      let last = (0..<entries).map { table.integer(at: $0 * 4, as: UInt32.self) }.max() ?? 0
      guard last > 1 else { continue }
      guard UInt64(last) * sector < reader.size else { throw cutOff }
      return
    }
  }
}

/// The text that describes a VMDK disk.
enum VmdkDescriptor {
  /// As much as QEMU reads of a descriptor file, and of the text in an image.
  static let longest = 1 << 20 - 1
  static let longestInside = 20 * 512

  /// Whether a file that begins so is a descriptor file, which QEMU tells by its first line that is no comment.
  static func isBegun(by bytes: [UInt8]) -> Bool {
    if bytes.starts(with: "# Disk DescriptorFile".utf8) { return true }
    for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      let text = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
      if text.first == UInt8(ascii: "#") || text.allSatisfy({ $0 == UInt8(ascii: " ") }) { continue }
      return ["version=1", "version=2", "version=3"].contains { text.elementsEqual($0.utf8) }
    }
    return false
  }

  /// Reads a descriptor file: all its data is in other files.
  static func read(_ text: [UInt8]) -> VirtualDiskHeader {
    var name = ""
    var sectors: UInt64 = 0
    for line in text.split(separator: UInt8(ascii: "\n")) {
      // RW 16384 FLAT "disk-flat.vmdk" 0
      let words = line.split(separator: UInt8(ascii: " "), maxSplits: 3)
      guard words.count == 4, words[0].elementsEqual("RW".utf8),
        let count = UInt64(String(decoding: words[1], as: UTF8.self))
      else { continue }
      sectors = sectors.addingReportingOverflow(count).partialValue
      if name.isEmpty { name = quoted(in: words[3]) }
    }
    let (size, overflow) = sectors.multipliedReportingOverflow(by: 512)
    return VirtualDiskHeader(size: overflow ? 0 : size, reference: .init(kind: "files of data", name: name))
  }

  /// The parent that a description names; also where only the parent's identifier is there.
  static func parent(in text: [UInt8]) -> VirtualDiskHeader.Reference? {
    let kind = "a parent image"
    if let place = text.place(of: "parentFileNameHint") { return .init(kind: kind, name: quoted(in: text[place...])) }
    guard let place = text.place(of: "parentCID=") else { return nil }
    let identifier = text[(place + "parentCID=".utf8.count)...].prefix(8)
    // All ones stand for none.
    return identifier.allSatisfy { $0 | 0x20 == UInt8(ascii: "f") } ? nil : .init(kind: kind, name: "")
  }

  /// What stands between the first quotation marks.
  private static func quoted(in text: ArraySlice<UInt8>) -> String {
    let quote = UInt8(ascii: "\"")
    return Array(text.drop { $0 != quote }.dropFirst().prefix { $0 != quote }).shown
  }
}
