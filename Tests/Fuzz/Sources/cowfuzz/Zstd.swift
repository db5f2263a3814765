// zstd: files as they come, and frames made by libzstd, with a seek table or without.

internal import CZstd

@testable import CompressedImages

func fuzzZstd(_ input: inout Input) {
  let flags = input.byte()
  if flags & 1 == 0 {
    return expectSound(image(of: input.bytes()), as: .zstd)
  }
  var maker = Maker(
    tellsSize: flags & 2 == 0, hasChecksums: flags & 4 == 0, tableHasChecksums: flags & 8 == 0)
  for _ in 0...(input.byte() % 6) {
    let kind = input.byte()
    if kind & 3 == 3 {
      maker.skip(input.bytes(Int(kind >> 4)))
    } else {
      maker.add(input.bytes(Int(input.number(2) % 2000)))
    }
  }
  let lie = flags & 32 == 0 ? 0 : UInt32(input.number(4))
  if flags & 16 == 0 { maker.addTable(lying: lie, at: Int(input.byte())) }
  // A frame's header has no checksum, so damage there may lead anywhere; a lie in the table may not.
  let isDamaged = damage(&maker.bytes, &input)
  let file = image(of: maker.bytes)
  expect(maker.content, in: open(file, as: .zstd), isDamaged: isDamaged || lie != 0, isVerified: !isDamaged)
}

/// Makes a file.
private struct Maker {
  let tellsSize: Bool
  let hasChecksums: Bool
  let tableHasChecksums: Bool
  var bytes: [UInt8] = []
  private(set) var content: [UInt8] = []
  private var entries: [[UInt32]] = []

  init(tellsSize: Bool, hasChecksums: Bool, tableHasChecksums: Bool) {
    self.tellsSize = tellsSize
    self.hasChecksums = hasChecksums
    self.tableHasChecksums = tableHasChecksums
  }

  /// Adds a frame.
  mutating func add(_ part: [UInt8]) {
    guard let context = ZSTD_createCCtx() else { fatalError("no memory") }
    defer { ZSTD_freeCCtx(context) }
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1)
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, tellsSize ? 1 : 0)
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, hasChecksums ? 1 : 0)
    var output = [UInt8](repeating: 0, count: ZSTD_compressBound(part.count))
    let count = ZSTD_compress2(context, &output, output.count, part, part.count)
    require(ZSTD_isError(count) == 0, "libzstd says \(count)")
    bytes += output[..<count]
    content += part
    let hash = part.withUnsafeBytes { XXHash64.hash($0) }
    entries.append([UInt32(count), UInt32(part.count), UInt32(truncatingIfNeeded: hash)])
  }

  /// Adds a frame that holds no data.
  mutating func skip(_ part: [UInt8]) {
    bytes += littleEndian(UInt32(0x184D_2A53)) + littleEndian(UInt32(part.count)) + part
    entries.append([UInt32(part.count) + 8, 0, 0])
  }

  /// Adds a seek table, of which one number is changed.
  mutating func addTable(lying lie: UInt32, at place: Int) {
    var numbers = entries.flatMap { $0.prefix(tableHasChecksums ? 3 : 2) }
    if !numbers.isEmpty { numbers[place % numbers.count] ^= lie }
    let table = numbers.flatMap { littleEndian($0) }
    bytes += littleEndian(UInt32(0x184D_2A5E)) + littleEndian(UInt32(table.count + 9)) + table
    bytes += littleEndian(UInt32(entries.count)) + [tableHasChecksums ? 0x80 : 0] + littleEndian(UInt32(0x8F92_EAB1))
  }
}
