// xz: files as they come, with their checksums put right, and files made by liblzma.

internal import CLzma
internal import CZlib
internal import Images

@testable import CompressedImages

func fuzzXz(_ input: inout Input) {
  let flags = input.byte()
  if flags & 1 == 0 {
    var bytes = input.bytes()
    if flags & 2 == 0 { sign(&bytes) }
    return expectSound(image(of: bytes), as: .xz)
  }
  let checks = [LZMA_CHECK_NONE, LZMA_CHECK_CRC32, LZMA_CHECK_CRC64, LZMA_CHECK_SHA256]
  let check = checks[Int(flags >> 1) % checks.count]
  var (bytes, content): ([UInt8], [UInt8]) = ([], [])
  for _ in 0...(flags >> 3 & 1) {
    let blocks = (0..<input.byte() % 5).map { _ in input.bytes(Int(input.number(2) % 2000)) }
    bytes += compress(blocks, check)
    content += blocks.joined()
    // Padding, in fours.
    if flags & 16 != 0 { bytes += [0, 0, 0, 0] }
  }
  let isDamaged = damage(&bytes, &input)
  let file = image(of: bytes)
  expect(content, in: open(file, as: .xz), isDamaged: isDamaged, isVerified: check != LZMA_CHECK_NONE)
}

/// A stream with a block of each of these.
private func compress(_ blocks: [[UInt8]], _ check: lzma_check) -> [UInt8] {
  let stream = UnsafeMutablePointer<lzma_stream>.allocate(capacity: 1)
  stream.initialize(to: lzma_stream())
  defer {
    lzma_end(stream)
    stream.deallocate()
  }
  require(lzma_easy_encoder(stream, 0, check) == LZMA_OK, "no encoder")
  var output = [UInt8](repeating: 0, count: 4096 + 2 * blocks.joined().count)
  let count = output.withUnsafeMutableBufferPointer { output -> Int in
    stream.pointee.next_out = output.baseAddress
    stream.pointee.avail_out = output.count
    for block in blocks { code(block, LZMA_FULL_FLUSH, stream) }
    code([], LZMA_FINISH, stream)
    return output.count - stream.pointee.avail_out
  }
  return Array(output[..<count])
}

private func code(_ bytes: [UInt8], _ action: lzma_action, _ stream: UnsafeMutablePointer<lzma_stream>) {
  bytes.withUnsafeBufferPointer { bytes in
    stream.pointee.next_in = bytes.baseAddress
    stream.pointee.avail_in = bytes.count
    var result = LZMA_OK
    while result == LZMA_OK { result = lzma_code(stream, action) }
    require(result == LZMA_STREAM_END, "liblzma says \(result)")
  }
}

/// Puts the checksums of the first header, of the first block's header, of the last index and of the last footer right.
private func sign(_ bytes: inout [UInt8]) {
  guard bytes.count >= 32 else { return }
  func put(_ place: Int, _ range: Range<Int>) {
    bytes.replaceSubrange(
      place..<place + 4, with: littleEndian(UInt32(crc32(0, Array(bytes[range]), UInt32(range.count)))))
  }
  let footer = bytes.count - 12
  put(8, 6..<8)
  let header = (Int(bytes[12]) + 1) * 4
  if bytes[12] != 0, 12 + header <= footer { put(12 + header - 4, 12..<12 + header - 4) }
  let index = (Int(bytes.integer(at: footer + 4) as UInt32) + 1) * 4
  if index >= 8, index <= footer - 12 { put(footer - 4, footer - index..<footer - 4) }
  put(footer, footer + 4..<footer + 10)
}
