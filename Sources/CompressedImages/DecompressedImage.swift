// An image in a compressed file that can only be read from its beginning to its end: it is decompressed once, into an
// unnamed file. Stretches of zeros become holes there.

public import CopyOnWrite
public import DiskIO
internal import Glibc
public import Images
public import SystemPackage

/// An image that was decompressed when it was opened.
public final class DecompressedImage: Image {
  private let file: RawImage
  private let content: File

  /// The name of the file without the format's suffix.
  public let name: String?

  /// Bytes of the image, decompressed.
  public let size: UInt64

  /// Bytes of the decompressed copy, without its holes.
  public let scratchBytes: UInt64

  /// Decompresses all of a stream into an empty file.
  ///
  /// - Parameters:
  ///   - file: where the stream comes from.
  ///   - limit: most bytes that are not zeros; beyond is `.beyondLimit`.
  ///   - progress: called with how many of the file's bytes were decompressed.
  init(
    _ file: RawImage, name: String?, _ stream: inout some ByteStream & ~Copyable, into content: consuming File,
    limit: UInt64, progress: (UInt64) -> Void
  ) throws(CompressedImageError.Problem) {
    self.file = file
    self.name = name
    (size, scratchBytes) = try Self.copy(&stream, to: content, limit: limit, all: file.size, progress: progress)
    self.content = content
  }

  private static let chunk = 1 << 17

  private static func copy(
    _ stream: inout some ByteStream & ~Copyable, to content: borrowing File, limit: UInt64, all: UInt64,
    progress: (UInt64) -> Void
  ) throws(CompressedImageError.Problem) -> (size: UInt64, written: UInt64) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: chunk, alignment: 4096)
    defer { buffer.deallocate() }
    var (size, written): (UInt64, UInt64) = (0, 0)
    while true {
      let part: UnsafeMutableRawBufferPointer
      do throws(BlockError) {
        part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<(try stream.read(into: buffer))])
      } catch {
        switch error {
        case .failed(let error): throw .unusable(error)
        case .damaged: throw .damaged("it cannot be decompressed beyond byte \(size) of the image")
        }
      }
      let isData = !isZero(part)
      if isData, written + UInt64(part.count) > limit {
        throw .beyondLimit(limit, part: Double(stream.position) / Double(max(1, all)))
      }
      do throws(Errno) {
        if isData {
          written += UInt64(part.count)
          try content.writeFully(UnsafeRawBufferPointer(part), at: size)
        }
        size += UInt64(part.count)
        if part.count < chunk { try content.setLength(size) }
      } catch {
        throw .cannotDecompress(error)
      }
      progress(stream.position)
      if part.count < chunk { return (size, written) }
    }
  }

  private static func isZero(_ bytes: UnsafeMutableRawBufferPointer) -> Bool {
    guard let start = bytes.baseAddress, bytes.count > 0 else { return true }
    // Each byte is compared with the one before it.
    return bytes[0] == 0 && memcmp(start, start + 1, bytes.count - 1) == 0
  }

  /// What the image is, in words.
  public var summary: String { "decompressed into the overlay directory" }

  /// Absolute path of the compressed file.
  public var source: String { file.source }

  /// The compressed file's owner, permissions and times.
  public var status: FileStatus { file.status }

  /// The compressed file's.
  public var access: ImageAccess { file.access }

  /// Nothing: the compressed file is not needed any more.
  public func change() -> String? { nil }

  /// No: the copy is on this machine.
  public var isRemote: Bool { false }

  /// No: what cannot be read will not be readable later.
  public var isAway: Bool { false }

  /// Nothing: reads never wait for long.
  public func prepareToEnd() {}

  /// As many as the size has.
  public var dataSectors: UInt64 { (size + 511) / 512 }

  /// Reads from the decompressed copy.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    try content.readFully(into: buffer, at: offset)
  }

  /// Where the decompressed copy has holes.
  public func extent(at offset: UInt64) throws(Errno) -> Extent {
    guard let data = try content.nextData(from: offset), data < size else { return Extent(isData: false, end: size) }
    if data > offset { return Extent(isData: false, end: data) }
    return Extent(isData: true, end: min(size, try content.nextHole(from: offset)))
  }
}
