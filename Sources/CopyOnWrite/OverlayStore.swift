// The overlay's bytes: a sparse unnamed file in which every block lies at its own offset (no index, no fragmentation map,
// and the file system's own page cache and extents do the rest).
//
// Writing goes through a shared mapping where possible, because a 4 KiB pwrite costs many times a memory copy where the
// page cache holds large folios. What makes that safe is that a block's space is reserved before its first store: a
// store into a hole of a full file system would be SIGBUS, a failed reservation is an errno. What no reservation can
// prevent (a failing disk) comes back from the guarded copy as EIO. Where the file system cannot reserve, or the mapping
// does not reach (no address space, a disk that grew far beyond its first size), the same calls use pread and pwrite.

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
  private let file: File
  private let mapping: MappedFile?
  /// Bytes from the start that are read and written through the mapping.
  private let mappedLength: UInt64
  private let canReserve: Bool
  /// Never written: memory that the kernel backs with its one page of zeros.
  private let zeros: LazyMemory

  /// How many bytes ``zeroBytes(_:)`` can give.
  static let zeroCount = 1 << 20

  /// Takes over an empty scratch file, to hold `needed` bytes and, when the disk grows, up to `wanted`.
  ///
  /// - Throws: what the file system says to a first block (`.noSpace`, `.readOnlyFileSystem` …), so that an unusable
  ///   overlay directory shows when mounting and not at the first write.
  init(
    _ file: consuming File, blockSize: UInt64, needed: UInt64, wanted: UInt64, access: StoreAccess = .mapped
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
  func reserve(_ range: Range<UInt64>) throws(Errno) {
    if canReserve { try file.reserve(range) }
  }

  /// Gives the space of these bytes back where the file system can; they read as zeros from now on if it does.
  func punch(_ range: Range<UInt64>) throws(Errno) {
    // Where it cannot, the space stays taken. The block map, not the file, says that the bytes are zeros.
    if canReserve { try file.punchHole(range) }
  }

  /// Writes into blocks that have their space.
  @inline(__always)
  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    switch mapping {
    case .some(let mapping) where offset + UInt64(bytes.count) <= mappedLength:
      guard mapping.store(bytes, at: offset) else { throw .ioError }
    default:
      try file.writeFully(bytes, at: offset)
    }
  }

  /// Most bytes that one call of ``writeFirst(_:at:)`` hands to the page cache.
  private static let piece: UInt64 = 16 << 10

  /// Writes into blocks that have their space and nothing in it yet.
  ///
  /// A store into a mapping has the kernel zero each new page first and costs a fault a page; pwrite does neither. It
  /// goes in pieces, because the page cache makes folios of the size of a write, and what stores into a folio's pages
  /// later pays for all of it at its first touch. Small writes gain nothing from it.
  func writeFirst(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    guard bytes.count >= 2 * Self.piece else { return try write(bytes, at: offset) }
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
    case .some(let mapping) where range.upperBound <= mappedLength:
      guard mapping.storeZeros(range) else { throw .ioError }
    default:
      var position = range.lowerBound
      while position < range.upperBound {
        let count = min(range.upperBound - position, UInt64(Self.zeroCount))
        try file.writeFully(zeroBytes(Int(count)), at: position)
        position += count
      }
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
  func usedSpace() throws(Errno) -> UInt64 { try file.status().sectors * 512 }

  /// Bytes that the overlay's file system still has.
  func availableSpace() throws(Errno) -> UInt64 { try file.availableSpace() }
}
