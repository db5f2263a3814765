// zstd: the frames of a file, by the seek table at its end or by walking from frame to frame. Each frame is a block.
//
// `pzstd`, t2sz and zeekstd write many frames, and files that were joined have several; `zstd` alone writes one. Where
// frames do not tell how many bytes they have (pzstd's do not), they are decompressed once to count them.

internal import CZstd
internal import Images
internal import SystemPackage

/// The frames of a zstd file that have data. The detail of each is its checksum in the seek table, if it is there.
struct ZstdBlocks: BlockSource {
  private let file: RawImage
  let blocks: BlockTable
  let remarks: [String]

  /// Finds the frames.
  ///
  /// - Parameters:
  ///   - maxBlock: most bytes of a frame; of larger ones, no more than that is counted.
  ///   - progress: called with how many of the file's bytes were looked at.
  init(_ file: RawImage, maxBlock: UInt64, progress: (UInt64) -> Void) throws(CompressedImageError.Problem) {
    self.file = file
    var remarks: [String] = []
    var found: BlockTable?
    do throws(Errno) {
      switch try ZstdSeekTable.read(file) {
      case .none: break
      case .wrong: remarks.append("has a seek table that does not fit its frames, and is read without it")
      case .table(let table): found = table
      }
    } catch {
      throw .unusable(error)
    }
    self.remarks = remarks
    blocks = if let found { found } else { try Self.walk(file, maxBlock: maxBlock, progress: progress) }
  }

  /// Has a bit that says that there is a checksum.
  static func detail(checksum: UInt32) -> UInt64 { 1 << 32 | UInt64(checksum) }

  // MARK: Walking

  private static func walk(
    _ file: RawImage, maxBlock: UInt64, progress: (UInt64) -> Void
  ) throws(CompressedImageError.Problem) -> BlockTable {
    var table = BlockTable()
    var place: UInt64 = 0
    var (frames, largest): (Int, UInt64) = (0, 0)
    while place < file.size {
      let frame: ZstdFrame
      do throws(Errno) {
        guard let found = try ZstdFrame.find(in: file, at: place) else { throw .invalidArgument }
        frame = found
      } catch .invalidArgument {
        // A first frame that was cut off is no other format.
        let isOther = place == 0 && (try? ImageFormat.detect(in: file)) != .zstd
        throw isOther ? .otherFormat : .damaged("at byte \(place), no whole frame begins")
      } catch {
        throw .unusable(error)
      }
      if !frame.isSkippable {
        frames += 1
        let count =
          if let count = frame.count { count } else { try Self.count(file, place..<frame.end, limit: maxBlock) }
        largest = max(largest, count)
        guard table.append(count: count, place: place, length: frame.end - place) else {
          throw .damaged("its frames tell of more bytes than a file can have")
        }
      }
      place = frame.end
      progress(place)
    }
    // Many frames of which one is too large are another problem, with another remedy.
    if frames == 1, largest > maxBlock { throw .onePiece }
    return table
  }

  /// Counts the bytes of a frame that does not tell; one more than the limit where it has more.
  private static func count(
    _ file: RawImage, _ range: Range<UInt64>, limit: UInt64
  ) throws(CompressedImageError.Problem) -> UInt64 {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 17, alignment: 16)
    defer { buffer.deallocate() }
    do throws(BlockError) {
      var stream = try ZstdStream(file, range)
      var count: UInt64 = 0
      while count <= limit {
        let part = try stream.read(into: buffer)
        count += UInt64(part)
        if part < buffer.count { return count }
      }
      return count
    } catch {
      switch error {
      case .failed(let error): throw .unusable(error)
      case .damaged: throw .damaged("the frame at byte \(range.lowerBound) cannot be decompressed")
      }
    }
  }

  // MARK: Decompressing

  func decompress(_ block: BlockTable.Block, into buffer: UnsafeMutableRawBufferPointer) throws(BlockError) {
    // A frame can take any number of bytes, with empty blocks in it. Those that take no more than they need go at once.
    let isPlain = block.length <= block.count + block.count >> 7 + 1 << 12
    if isPlain, UInt64(buffer.count) == block.count {
      try decompressAtOnce(block, into: buffer)
    } else {
      try decompressInPieces(block, into: buffer)
    }
    guard block.detail != 0, UInt64(buffer.count) == block.count else { return }
    let checksum = UInt32(truncatingIfNeeded: XXHash64.hash(UnsafeRawBufferPointer(buffer)))
    guard Self.detail(checksum: checksum) == block.detail else { throw .damaged }
  }

  private func decompressAtOnce(
    _ block: BlockTable.Block, into buffer: UnsafeMutableRawBufferPointer
  ) throws(BlockError) {
    guard let count = Int(exactly: block.length), let input = ScratchMemory(count: count) else {
      throw .failed(.noMemory)
    }
    do throws(Errno) {
      try file.read(into: input.bytes, at: block.place)
    } catch {
      throw .failed(error)
    }
    guard let context = ZSTD_createDCtx() else { throw .failed(.noMemory) }
    defer { ZSTD_freeDCtx(context) }
    let result = ZSTD_decompressDCtx(
      context, buffer.baseAddress, buffer.count, input.bytes.baseAddress, input.bytes.count)
    if ZSTD_isError(result) != 0 { throw ZstdStream.error(result) }
    guard result == buffer.count else { throw .damaged }
  }

  private func decompressInPieces(
    _ block: BlockTable.Block, into buffer: UnsafeMutableRawBufferPointer
  ) throws(BlockError) {
    var stream = try ZstdStream(file, block.place..<block.place + block.length)
    guard try stream.read(into: buffer) == buffer.count else { throw .damaged }
    if UInt64(buffer.count) == block.count { try stream.finish() }
  }
}
