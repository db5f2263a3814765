// A part of an image, cut off or made longer: what --offset, --length, --partition, --size and the roundings leave of it.
// What lies beyond the base's bytes is a hole. Offsets are to the byte; nothing here knows sectors.

public import CopyOnWrite
public import DiskIO
public import SystemPackage

/// Bytes of a base from an offset on, followed by zeros where the window is larger than what it shows of the base.
public final class Window: Image {
  private let base: any Image
  /// Where in the base the window begins.
  private let start: UInt64
  /// How many bytes are the base's; the rest is a hole.
  private let shown: UInt64

  /// Which bytes of the base are shown.
  public var part: Range<UInt64> { start..<start + shown }

  /// Size of the window in bytes.
  public let size: UInt64

  /// Lays a window over `base`.
  ///
  /// - Throws: where the base has no such bytes, or the size is none that a file can have.
  public init(over base: any Image, _ shape: WindowShape) throws(WindowError) {
    let (bytes, size) = try shape.resolved(over: base.size, of: base.source)
    self.base = base
    self.size = size
    start = bytes.lowerBound
    shown = min(size, bytes.upperBound - bytes.lowerBound)
  }

  /// The base's.
  public var source: String { base.source }

  /// The base's.
  public var name: String? { base.name }

  /// The base's.
  public var status: FileStatus { base.status }

  /// The base's.
  public var access: ImageAccess { base.access }

  /// The base's.
  public var scratchBytes: UInt64 { base.scratchBytes }

  /// What is different about the base, whether or not that is inside the window: an image that is written to is no image
  /// to rely on.
  public func change() -> String? { base.change() }

  /// The base's.
  public var isRemote: Bool { base.isRemote }

  /// The base's.
  public var isAway: Bool { base.isAway }

  /// Told to the base.
  public func prepareToEnd() { base.prepareToEnd() }

  /// Reads bytes of the base, and zeros after them.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    let fromBase = offset < shown ? Int(min(UInt64(buffer.count), shown - offset)) : 0
    if fromBase > 0 {
      try base.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<fromBase]), at: start + offset)
    }
    UnsafeMutableRawBufferPointer(rebasing: buffer[fromBase...]).initializeMemory(as: UInt8.self, repeating: 0)
  }

  /// What the base says, moved; a hole at the end goes on to the window's end.
  public func extent(at offset: UInt64) throws(Errno) -> Extent {
    guard offset < shown else { return Extent(isData: false, end: size) }
    let extent = try base.extent(at: start + offset)
    let end = extent.end - start
    if end < shown { return Extent(isData: extent.isData, end: end) }
    return Extent(isData: extent.isData, end: extent.isData ? shown : size)
  }

  /// Most extents that are looked at to know how much of the window is data, and the time after which no more are.
  private static let extentLimit = (count: 4096, time: Duration.seconds(1))

  /// Counted where the base knows of holes, so that programs that copy only what is there look for it.
  public var dataSectors: UInt64 {
    let ofBase = base.dataSectors
    let all = (shown + 511) / 512
    guard ofBase < (base.size + 511) / 512 else { return all }
    let data = (try? dataBytes(within: Self.extentLimit)) ?? shown
    return min(all, ofBase, (data + 511) / 512)
  }

  /// How many bytes are data. Behind `limit` extents, all of them are called that.
  private func dataBytes(within limit: (count: Int, time: Duration)) throws(Errno) -> UInt64 {
    var position: UInt64 = 0
    var data: UInt64 = 0
    var count = 0
    let end = ContinuousClock.now + limit.time
    while position < shown {
      guard count < limit.count, ContinuousClock.now < end else { return data + (shown - position) }
      let extent = try extent(at: position)
      let end = min(extent.end, shown)
      if extent.isData { data += end - position }
      position = end
      count += 1
    }
    return data
  }
}

/// What a window is to show, as the user puts it: first a part of the base, then its size, then the roundings, in this
/// order, each working on what the one before left.
public struct WindowShape: Equatable, Sendable {
  /// First byte of the base.
  public var offset: UInt64 = 0
  /// Bytes from there on; nil for all that follow.
  public var length: UInt64?
  /// Size of the window; what the part has not is zeros. Nil for the part's.
  public var size: UInt64?
  /// The size is rounded up to a multiple of this.
  public var roundUp: UInt64?
  /// Then the size is rounded down to a multiple of this.
  public var roundDown: UInt64?

  /// Creates the shape that shows all of a base as it is.
  public init() {}

  /// Whether there is anything to do.
  public var isWhole: Bool { self == WindowShape() }

  /// The bytes of a base that are shown, and the size of the window, which may be larger or smaller than they are.
  func resolved(
    over baseSize: UInt64, of source: @autoclosure () -> String
  ) throws(WindowError) -> (bytes: Range<UInt64>, size: UInt64) {
    guard offset <= baseSize else { throw .offset(source(), offset, size: baseSize) }
    let length = length ?? baseSize - offset
    guard length <= baseSize - offset else { throw .length(source(), length, offset: offset, size: baseSize) }
    var size = size ?? length
    if let roundUp, roundUp > 0 {
      let missing = size % roundUp == 0 ? 0 : roundUp - size % roundUp
      let (sum, overflow) = size.addingReportingOverflow(missing)
      guard !overflow else { throw .tooLarge(source()) }
      size = sum
    }
    if let roundDown, roundDown > 0 { size -= size % roundDown }
    guard size <= ImageSize.largest else { throw .tooLarge(source()) }
    return (offset..<offset + length, size)
  }
}

/// A window that cannot be laid over an image.
public enum WindowError: Error, Equatable, CustomStringConvertible {
  /// The image ends before the offset.
  case offset(String, UInt64, size: UInt64)
  /// The image ends before the last byte.
  case length(String, UInt64, offset: UInt64, size: UInt64)
  /// No file can be so large.
  case tooLarge(String)

  /// One line that names the image and the way out.
  public var description: String {
    switch self {
    case .offset(let source, let offset, let size):
      "\(source) has only \(size) bytes; --offset \(offset) is beyond them"
    case .length(let source, let length, let offset, let size):
      """
      \(source) ends at byte \(size), so \(length) bytes from \(offset) on are too many; give less to --length (--size \
      makes an image larger)
      """
    case .tooLarge(let source):
      "\(source): no file can be as large as that; give less to --size or --round-up"
    }
  }
}
