// The overlay's bytes: a sparse unnamed file in which every block lies at its own offset (no index, no fragmentation map,
// and the file system's own page cache and extents do the rest).
//
// Small writes go through a shared mapping where possible, because a 4 KiB pwrite costs many times a memory copy where the
// page cache holds large folios; large ones go by pwrite, which needs no page mapped. What makes stores safe is that a
// block has its space before its first store is done, and that every store is guarded: after a fault (SIGBUS) the same bytes
// go by pwrite, which works or says why not.
//
// A block gets its space in one of two ways. A reservation (fallocate) is an errno where the file system is full, but
// allocates there and then: random 4 KiB blocks cost a journalled change of the extent tree each, half of a first write's
// time on ext4, three quarters on xfs. Where the file system itself sets space aside as a store makes a page writable, a
// small first write leaves it to that, and the file system allocates later, in order and many blocks at once. If that fails,
// a reservation, which tries harder, has the last word.
//
// Large writes by pwrite cost half the processor time of stores. Which writes go which way, and how much is reserved, was
// measured: Tests/Benchmarks/README.md.
//
// Where the kernel's pages are larger than the blocks, nothing is stored into the mapping. Where the file system cannot
// reserve, or the mapping does not reach (no address space, a disk that grew far beyond its first size), the same calls use
// pread and pwrite.

internal import DiskIO
internal import SystemPackage

/// What an overlay store may use of its file system. Less than everything is for file systems that have less, and for tests
/// of the ways round it.
enum StoreAccess: CaseIterable, Sendable {
  /// Reservations, holes and the mapping, as far as they are there.
  case mapped
  /// Reservations and holes, but pread and pwrite.
  case unmapped
  /// pread and pwrite alone.
  case plain
}

struct OverlayStore: ~Copyable, Sendable {
  let file: File
  private var mapping: MappedFile?
  /// Bytes from the start that are read and written through the mapping.
  private var mappedLength: UInt64
  /// Whether the file system can set space aside and take it back.
  let canReserve: Bool
  /// Whether stores into the mapping find their space, or fault.
  private let storesAllocate: Bool
  /// Writes of fewer bytes than this are stored into the mapping.
  private let leastByCall: UInt64
  /// Never written: memory that the kernel backs with its one page of zeros.
  private let zeros: LazyMemory

  /// How many bytes ``zeroBytes(_:)`` can give.
  static let zeroCount = 1 << 20

  /// Takes over an empty scratch file, to hold `needed` bytes and, when the disk grows, up to `wanted`.
  ///
  /// - Throws: what the file system says to a first block (`.noSpace`, `.readOnlyFileSystem` …), so that an unusable
  ///   overlay directory shows when mounting and not at the first write.
  init(
    _ file: consuming File, blockSize: UInt64, needed: UInt64, wanted: UInt64, access: StoreAccess = .mapped,
    pageSize: Int = LazyMemory.pageSize
  ) throws(Errno) {
    let canReserve = access == .plain ? false : try Self.probe(file, 0..<blockSize)
    let zeros = try LazyMemory(capacity: Self.zeroCount)
    try zeros.makeAccessible(Self.zeroCount)
    let mapping = canReserve && access == .mapped ? Self.map(file, needed: needed, wanted: wanted) : nil
    mappedLength =
      switch mapping {
      case .some(let mapping): mapping.length
      case .none: 0
      }
    // A store into a hole takes the space of a page, and must not take more than that of its block.
    leastByCall = blockSize < pageSize ? 0 : 2 * Self.piece
    storesAllocate = mappedLength > 0 && file.storesAllocate
    self.mapping = mapping
    self.canReserve = canReserve
    self.zeros = zeros
    self.file = file
  }

  /// Whether space can be reserved and given back.
  private static func probe(_ file: borrowing File, _ range: Range<UInt64>) throws(Errno) -> Bool {
    do {
      try file.reserve(range)
      // Beyond a file's end ext4 punches no holes.
      try file.setLength(range.upperBound)
      try file.punchHole(range)
      return true
    } catch .notSupportedOnSocket {
      return false
    }
  }

  /// Does without the mapping from now on, for bytes that will be read seldom and written no more. Nobody else may be at it.
  ///
  /// - Returns: the mapping. Taking it down takes time where much of it was touched.
  mutating func takeMapping() -> MappedFile? {
    mappedLength = 0
    return mapping.take()
  }

  /// Maps the file again, as far as it reaches or further.
  mutating func mapAgain(needed: UInt64, wanted: UInt64) {
    guard canReserve, mapping == nil, let new = Self.map(file, needed: needed, wanted: wanted) else { return }
    mappedLength = new.length
    mapping = consume new
  }

  private static func map(_ file: borrowing File, needed: UInt64, wanted: UInt64) -> MappedFile? {
    if let mapping = MappedFile(file, length: wanted) { return mapping }
    return MappedFile(file, length: needed)
  }

  /// Makes room for bytes up to `length`. Never shrinks, not even when a disk that was cut off grows a little: a page that
  /// a reader may touch must not fall off the file. Not to be called twice at once.
  func extend(to length: UInt64) throws(Errno) {
    if try file.status().size < length { try file.setLength(length) }
  }

  /// Sets space for these bytes aside; storing to them cannot fail for want of it.
  /// Where the file system can set nothing aside, this does nothing.
  func reserve(_ range: Range<UInt64>) throws(Errno) {
    guard canReserve else { return }
    do {
      try file.reserve(range)
    } catch let error where error.isOutOfSpace && storesAllocate {
      // For each stored page xfs sets aside what the worst tree of extents would need, up to five times the page.
      // Whether that works, the second try shows.
      try? file.writeBack()
      try file.reserve(range)
    }
  }

  /// Whether a first write of these bytes may go ahead without ``reserve(_:)``: it either finds its space or throws.
  func allocatesOnWrite(_ range: Range<UInt64>) -> Bool {
    storesAllocate && range.upperBound <= mappedLength && range.upperBound - range.lowerBound < leastByCall
  }

  /// Gives the space of these bytes back where the file system can; they read as zeros from now on if it does.
  func punch(_ range: Range<UInt64>) throws(Errno) {
    // Where it cannot, the space stays taken. The block map, not the file, says that the bytes are zeros.
    if canReserve { try file.punchHole(range) }
  }

  /// Most bytes that one call of pwrite hands to the page cache.
  private static let piece: UInt64 = 16 << 10

  /// Writes into blocks that have their space, or are about to get it (``allocatesOnWrite(_:)``).
  @inline(__always)
  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    switch mapping {
    case .some(let mapping) where bytes.count < leastByCall && offset + UInt64(bytes.count) <= mappedLength:
      // A fault does not say why, and pwrite may work where a store does not: on btrfs before Linux 6.16 a store into what
      // was written before asks for new space.
      if !mapping.store(bytes, at: offset) { try writeInPieces(bytes, at: offset) }
    default:
      try writeInPieces(bytes, at: offset)
    }
  }

  /// Writes by pwrite.
  ///
  /// A store into a mapping costs a fault for each page that is new or was written back since, and has the kernel zero
  /// new ones first; pwrite does neither. It goes in pieces, because the page cache makes folios of the size of a write,
  /// and what stores into a folio's pages later pays for all of it at its first touch. Small writes gain nothing from it.
  private func writeInPieces(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    var position = offset
    let end = offset + UInt64(bytes.count)
    while position < end {
      let next = min(end, (position / Self.piece + 1) * Self.piece)
      let part = bytes[Int(position - offset)..<Int(next - offset)]
      try file.writeFully(UnsafeRawBufferPointer(rebasing: part), at: position)
      position = next
    }
  }

  /// Writes zeros into blocks that have their space.
  func writeZeros(_ range: Range<UInt64>) throws(Errno) {
    switch mapping {
    case .some(let mapping) where leastByCall > 0 && range.upperBound <= mappedLength:
      if mapping.storeZeros(range) { return }
    default: break
    }
    var position = range.lowerBound
    while position < range.upperBound {
      let count = min(range.upperBound - position, UInt64(Self.zeroCount))
      try file.writeFully(zeroBytes(Int(count)), at: position)
      position += count
    }
  }

  /// Zeros to answer or write from, `count` of them (at most ``zeroCount``).
  @inline(__always)
  func zeroBytes(_ count: Int) -> UnsafeRawBufferPointer {
    assert(count <= Self.zeroCount)
    return UnsafeRawBufferPointer(start: zeros.address, count: count)
  }

  /// The address of bytes to hand to the kernel, nil where they are not mapped.
  @inline(__always)
  func pointer(at offset: UInt64, count: Int) -> UnsafeMutableRawPointer? {
    switch mapping {
    case .some(let mapping) where offset + UInt64(count) <= mappedLength: mapping.pointer(at: offset)
    default: nil
    }
  }

  /// Reads bytes that are not mapped.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    try file.readFully(into: buffer, at: offset)
  }

  /// Bytes that the overlay takes on its file system, reservations included.
  func usedSpace() throws(Errno) -> UInt64 { try file.status().space }

  /// Bytes that the overlay's file system still has.
  func availableSpace() throws(Errno) -> UInt64 { try file.availableSpace() }

  /// Bytes that the overlay's file system has in all.
  func totalSpace() throws(Errno) -> UInt64 { try file.totalSpace() }
}
