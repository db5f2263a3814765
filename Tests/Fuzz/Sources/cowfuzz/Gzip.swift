// gzip: files as they come, and members made by zlib, read from places that are close together.

internal import CZlib
internal import Images

@testable import CompressedImages

func fuzzGzip(_ input: inout Input) {
  let flags = input.byte()
  if flags & 1 == 0 {
    return expectSound(image(of: input.bytes()), as: .gzip)
  }
  var (bytes, content): ([UInt8], [UInt8]) = ([], [])
  for _ in 0...(flags >> 1 & 1) {
    let level = CInt(input.byte() % 10)
    let flush = [Z_BLOCK, Z_SYNC_FLUSH, Z_FULL_FLUSH, Z_NO_FLUSH][Int(input.byte()) % 4]
    // Each piece several times, so that there are distances to look back over.
    let pieces = (0..<input.byte() % 6).map { _ -> [UInt8] in
      let piece = input.bytes(Int(input.number(2) % 500))
      return Array([[UInt8]](repeating: piece, count: Int(input.byte() % 64)).joined())
    }
    bytes += compress(pieces, level: level, flush: flush)
    content += pieces.joined()
  }
  if flags & 4 != 0 { bytes += [UInt8](repeating: 0, count: 700) }
  let isDamaged = damage(&bytes, &input)
  let file = image(of: bytes)
  expect(content, in: open(file, as: .gzip), isDamaged: isDamaged)
  expect(content, in: openInPieces(file, of: 1 + UInt64(flags >> 3) * 100), isDamaged: isDamaged)
}

/// A file as an image, with places to read from after every so many bytes.
private func openInPieces(_ file: RawImage, of spacing: UInt64) -> CompressedImage? {
  guard let index = try? GzipIndex(file, maxBlock: 1 << 20, spacing: spacing, progress: { _ in }) else { return nil }
  let cache = BlockCache(maxBlocks: 4, maxBytes: 4 << 20)
  return CompressedImage(file, name: nil, blocks: GzipBlocks(file, index), cache: cache) { _ in }
}

/// A member, flushed after each of these pieces.
private func compress(_ pieces: [[UInt8]], level: CInt, flush: CInt) -> [UInt8] {
  let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
  stream.initialize(to: z_stream())
  defer {
    deflateEnd(stream)
    stream.deallocate()
  }
  let size = CInt(MemoryLayout<z_stream>.size)
  let result = deflateInit2_(stream, level, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY, zlibVersion(), size)
  require(result == Z_OK, "no encoder")
  var output = [UInt8](repeating: 0, count: 4096 + 2 * pieces.joined().count)
  let count = output.withUnsafeMutableBufferPointer { output -> Int in
    stream.pointee.next_out = output.baseAddress
    stream.pointee.avail_out = UInt32(output.count)
    for (piece, flush) in pieces.map({ ($0, flush) }) + [([], Z_FINISH)] {
      var piece = piece
      piece.withUnsafeMutableBufferPointer { piece in
        stream.pointee.next_in = piece.baseAddress
        stream.pointee.avail_in = UInt32(piece.count)
        _ = deflate(stream, flush)
        require(stream.pointee.avail_in == 0 && stream.pointee.avail_out > 0, "zlib took not all")
      }
    }
    return output.count - Int(stream.pointee.avail_out)
  }
  return Array(output[..<count])
}
