// Bytes to blocks and back. Pure arithmetic, tested exhaustively.

/// The block size and what follows from it.
public struct Geometry: Equatable, Sendable {
  /// Block sizes that the engine takes, in bytes.
  public static let blockSizes: ClosedRange<Int> = 4096...(2 << 20)

  /// Binary logarithm of the block size in bytes.
  let blockShift: UInt64

  /// Creates the geometry of a block size in bytes.
  ///
  /// - Returns: nil unless it is a power of two within ``blockSizes``.
  public init?(blockSize: Int) {
    guard Self.blockSizes.contains(blockSize), blockSize.nonzeroBitCount == 1 else { return nil }
    blockShift = UInt64(blockSize.trailingZeroBitCount)
  }

  /// Any power of two: with blocks of a few bytes, tests can try everything.
  init(blockShift: UInt64) {
    self.blockShift = blockShift
  }

  /// Bytes a block.
  public var blockSize: UInt64 { 1 << blockShift }

  /// Most bytes that a disk can have: with its last block whole, it is as long as a file can be.
  var largestDisk: UInt64 { UInt64(Int64.max) & ~(blockSize - 1) }

  /// The block that byte `offset` is in.
  @inline(__always)
  func block(of offset: UInt64) -> UInt64 { offset >> blockShift }

  /// First byte of a block.
  @inline(__always)
  func start(of block: UInt64) -> UInt64 { block << blockShift }

  /// The bytes of a run of blocks.
  @inline(__always)
  func bytes(of blocks: Range<UInt64>) -> Range<UInt64> { start(of: blocks.lowerBound)..<start(of: blocks.upperBound) }

  /// The number of blocks that hold `size` bytes: the first block that they do not need.
  @inline(__always)
  func blockCount(for size: UInt64) -> UInt64 {
    (size >> blockShift) + (size & (blockSize - 1) == 0 ? 0 : 1)
  }

  /// `size` rounded up to whole blocks.
  func roundedUp(_ size: UInt64) -> UInt64 { start(of: blockCount(for: size)) }

  /// The blocks that a range of bytes touches.
  @inline(__always)
  func blocks(touchedBy range: Range<UInt64>) -> Range<UInt64> {
    range.isEmpty
      ? block(of: range.lowerBound)..<block(of: range.lowerBound)
      : block(of: range.lowerBound)..<(block(of: range.upperBound - 1) + 1)
  }

  /// Cuts a range of a disk into the part of a block before its first whole block, the whole blocks, and the part of a
  /// block after them. A disk's last block counts as whole when the range goes to the disk's last byte.
  ///
  /// `range` must lie within `diskSize`.
  func split(_ range: Range<UInt64>, diskSize: UInt64) -> Split {
    precondition(range.upperBound <= diskSize)
    let end = range.upperBound == diskSize ? roundedUp(diskSize) : range.upperBound
    let firstWhole = blockCount(for: range.lowerBound)
    let afterWhole = block(of: end)
    guard !range.isEmpty, firstWhole < afterWhole else {
      // No whole block: at most a part of one block, or of two neighbours.
      let border = min(max(start(of: firstWhole), range.lowerBound), range.upperBound)
      return Split(
        head: range.lowerBound..<border, body: firstWhole..<firstWhole, tail: border..<range.upperBound)
    }
    let tailStart = min(start(of: afterWhole), range.upperBound)
    return Split(
      head: range.lowerBound..<start(of: firstWhole), body: firstWhole..<afterWhole,
      tail: tailStart..<range.upperBound)
  }

  /// The three parts of a range.
  struct Split: Equatable {
    /// Bytes within the first block, empty where the range starts with a whole one.
    let head: Range<UInt64>
    /// Whole blocks.
    let body: Range<UInt64>
    /// Bytes within the last block, empty where the range ends with a whole one.
    let tail: Range<UInt64>
  }
}
