// What a server says of an export when one connects to it, and what requests it takes.

internal import CNbd

/// An export's properties.
struct NbdExport: Equatable {
  /// As the client asked for it.
  let name: String
  /// Bytes of it.
  let size: UInt64
  /// What reads must look like.
  let reads: NbdReadLimits
  /// Whether several connections see the same.
  let allowsMoreConnections: Bool
  /// Whether it tells of holes.
  let tellsHoles: Bool
}

/// What reads must look like: offset and length are multiples of the smallest one, but at the end of the export.
struct NbdReadLimits: Equatable {
  /// Smallest read; a power of two up to 64 KiB.
  let minimum: Int
  /// Largest read, a multiple of the smallest.
  let maximum: Int
  /// Bytes of the export.
  let size: UInt64

  /// What servers take that say nothing of it (protocol.md, "Block size constraints"). It is enough for any reader here.
  private static let usualMaximum = 32 << 20

  /// Takes what a server said, 0 where it said nothing. What is absurd is taken for nothing.
  init(minimum: Int64, maximum: Int64, size: UInt64) {
    let isPower = minimum > 0 && minimum & (minimum - 1) == 0 && minimum <= 64 << 10
    self.minimum = isPower ? Int(minimum) : 1
    let limit = maximum > 0 ? Int(min(maximum, Int64(Self.usualMaximum))) : Self.usualMaximum
    self.maximum = max(self.minimum, limit - limit % self.minimum)
    self.size = size
  }

  /// The first request to make for bytes of a range, which is not empty. Where it is larger than what it serves of the
  /// range, it is one block, and needs memory of its own.
  func firstRequest(for range: Range<UInt64>) -> Range<UInt64> {
    let step = UInt64(minimum)
    let start = range.lowerBound - range.lowerBound % step
    let whole = range.upperBound == size ? range.upperBound : range.upperBound - range.upperBound % step
    if start == range.lowerBound, whole > start { return start..<min(whole, start + UInt64(maximum)) }
    return start..<min(size, start + step)
  }
}
