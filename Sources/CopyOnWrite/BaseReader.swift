// What the engine asks of the image under it. There is no way to write here, so no mistake above can (O1).

public import SystemPackage

/// A read-only image of a fixed size.
///
/// The engine calls it from many threads at once, and never for bytes at or beyond ``size``.
public protocol BaseReader: AnyObject, Sendable {
  /// Length in bytes, the same for the reader's whole life.
  var size: UInt64 { get }

  /// Fills `buffer` with the bytes from `offset` on.
  ///
  /// - Throws: an errno where any byte cannot be had; never hands out zeros for bytes that it could not read.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno)

  /// Whether the byte at `offset` (below ``size``) is in a hole, and where that stops being so.
  ///
  /// Calling a hole data is allowed (it costs space), calling data a hole is not. A reader that knows of no holes has
  /// one extent.
  func extent(at offset: UInt64) throws(Errno) -> Extent
}

/// A run of bytes that are all data or all a hole (and then read as zeros).
public struct Extent: Equatable, Sendable {
  /// Whether the bytes may be other than zeros.
  public let isData: Bool
  /// First byte after the run.
  public let end: UInt64

  /// Creates an extent.
  public init(isData: Bool, end: UInt64) {
    self.isData = isData
    self.end = end
  }
}
