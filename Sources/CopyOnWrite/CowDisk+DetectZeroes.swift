// Writing zeros without keeping them: blocks that a write fills with zeros entirely become zero blocks.
//
// The check ends at the first byte that is not zero, and costs data nothing that can be measured; zeros are written 9 times as
// fast the first time (Tests/Benchmarks/README.md). It is off by default all the same, as in QEMU: a block that was written,
// and so has its space, would lose it when zeros are written, and with a full overlay the next write to it fails.

internal import DiskIO
internal import Glibc
internal import SystemPackage

extension CowDisk {
  /// Writes `bytes`, which must not be empty, from `offset` on; whole blocks of zeros take no space.
  func writeDetectingZeroes(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    let end = try end(of: UInt64(bytes.count), from: offset)
    if end > size { try grow(toAtLeast: end) }
    let whole = geometry.split(offset..<end, diskSize: max(size, end)).body
    // What is written so far, and whether what comes next is a run of zeros.
    var written = offset
    var block = whole.lowerBound
    while block < whole.upperBound {
      let isZero = isZero(block, in: bytes, from: offset)
      var next = block + 1
      while next < whole.upperBound, self.isZero(next, in: bytes, from: offset) == isZero { next += 1 }
      if isZero {
        let run = geometry.bytes(of: block..<next).clamped(to: offset..<end)
        try writePart(written..<run.lowerBound, of: bytes, from: offset)
        try zero(run)
        written = run.upperBound
      }
      block = next
    }
    try writePart(written..<end, of: bytes, from: offset)
  }

  private func isZero(_ block: UInt64, in bytes: UnsafeRawBufferPointer, from offset: UInt64) -> Bool {
    let range = geometry.bytes(of: block..<block + 1).clamped(to: offset..<offset + UInt64(bytes.count))
    let part = UnsafeRawBufferPointer(
      rebasing: bytes[Int(range.lowerBound - offset)..<Int(range.upperBound - offset)])
    // Equal to itself shifted by one byte, and starting with zero: zero throughout.
    guard let start = part.baseAddress, part[0] == 0 else { return false }
    return memcmp(start, start + 1, part.count - 1) == 0
  }

  private func writePart(
    _ range: Range<UInt64>, of bytes: UnsafeRawBufferPointer, from offset: UInt64
  ) throws(Errno) {
    try write(
      Content.bytes(bytes).part(range, from: offset), at: range.lowerBound, count: range.upperBound - range.lowerBound)
  }
}
