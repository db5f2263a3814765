// Reading an image in sectors. All arithmetic on what an image says is checked here.

internal import CopyOnWrite
internal import Images
internal import SystemPackage

/// An image, counted in sectors.
struct SectorReader {
  private let image: any BaseReader
  let sectorSize: UInt64

  init(of image: any BaseReader, sectorSize: UInt64) {
    precondition(sectorSize >= 512)
    self.image = image
    self.sectorSize = sectorSize
  }

  /// Bytes of the image.
  var size: UInt64 { image.size }

  /// Whole sectors of the image.
  var sectorCount: UInt64 { image.size / sectorSize }

  /// Where sectors are in bytes, whether or not the image has them; nil where that is beyond all sizes.
  func bytes(from first: UInt64, count: UInt64) -> Range<UInt64>? {
    let (end, overflow) = first.addingReportingOverflow(count)
    guard !overflow, end <= UInt64(Int64.max) / sectorSize else { return nil }
    return first * sectorSize..<end * sectorSize
  }

  /// The bytes of one sector; nil where the image does not have all of it.
  func sector(_ number: UInt64) throws(PartitionTableError) -> [UInt8]? {
    guard number < sectorCount else { return nil }
    do {
      return try read(Int(sectorSize), at: number * sectorSize)
    } catch {
      throw .unreadable(at: number * sectorSize, error)
    }
  }

  /// Bytes that the image has.
  func read(_ count: Int, at offset: UInt64) throws(Errno) -> [UInt8] {
    guard let bytes = try image.bytes(count, at: offset) else {
      preconditionFailure("the caller knows that it has them")
    }
    return bytes
  }
}
