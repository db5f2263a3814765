// xz files as xz makes them, and as damage makes them.

import CZlib
import CopyOnWrite
import DiskIO
import Glibc
import Images
import SystemPackage
import TestSupport
import Testing

@testable import CompressedImages

@Suite(.enabled(if: Tool.has("xz"), "needs xz")) struct XzTests {
  private let workshop: TemporaryDirectory
  private static let raw = content(1_500_123)

  init() throws {
    workshop = try TemporaryDirectory()
    try workshop.write(Self.raw, to: "disk.img")
  }

  /// Makes disk.img.xz.
  private func compress(_ options: String = "--block-size=128KiB") throws {
    try workshop.run("xz -1 --keep --force \(options) disk.img")
  }

  @Test(arguments: ["none", "crc32", "crc64", "sha256"], ["64KiB", "512KiB", "1GiB"])
  func `every byte is that of the raw image`(check: String, blockSize: String) throws {
    try compress("--check=\(check) --block-size=\(blockSize)")
    let reports = Reports()
    let image = try workshop.open("disk.img.xz", as: nil, CompressionOptions(report: reports.add))
    try image.expect(Self.raw)
    #expect(reports.all.count == (check == "none" ? 1 : 0))
    #expect(image.name == "disk.img")
    #expect(image.source == workshop.file("disk.img.xz").string)
    #expect(image.dataSectors == (UInt64(Self.raw.count) + 511) / 512)
    #expect(image.extent(at: 5) == Extent(isData: true, end: image.size))
  }

  @Test(arguments: [
    "--threads=2 --block-size=100KiB", "--x86 --lzma2=preset=1,dict=1MiB", "--delta=dist=4 --lzma2=dict=1GiB,mode=fast",
    "--block-list=1,4096,0",
  ])
  func `threads, filters, large dictionaries and odd blocks make no difference`(options: String) throws {
    // A dictionary of 1 GiB needs as much memory to compress.
    try compress(options.replacing("1GiB", with: "192MiB"))
    try workshop.open("disk.img.xz").expect(Self.raw)
  }

  @Test func `streams that were joined, with padding and empty ones, are one image`() throws {
    try workshop.run(
      """
      head -c 500001 disk.img | xz -0 --check=crc32 > all.xz; head -c 8 /dev/zero >> all.xz
      xz -0 < /dev/null >> all.xz
      tail -c +500002 disk.img | head -c 499999 | xz -0 --check=sha256 --block-size=50000 >> all.xz
      tail -c +1000001 disk.img | xz -0 --check=none >> all.xz; head -c 400 /dev/zero >> all.xz
      """)
    let image = try workshop.open("all.xz")
    try image.expect(Self.raw)
    #expect(image.name == "all")
    #expect(image.summary == "12 blocks of up to 500123 bytes")
  }

  @Test func `an image of no bytes is one`() throws {
    try workshop.run("xz < /dev/null > empty.xz")
    let image = try workshop.open("empty.xz")
    #expect(image.size == 0)
    #expect(try image.bytes(0..<0) == [])
    #expect(throws: Errno.ioError) { try image.bytes(0..<1) }
  }

  @Test func `nothing beyond the end is read`() throws {
    try compress()
    let image = try workshop.open("disk.img.xz")
    #expect(throws: Errno.ioError) { try image.bytes(image.size - 1..<image.size + 1) }
    #expect(throws: Errno.ioError) { try image.bytes(UInt64.max - 5..<UInt64.max) }
    #expect(try image.bytes(image.size - 1..<image.size) == [Self.raw[Self.raw.count - 1]])
  }

  // MARK: The cache

  @Test func `memory stays within the depth, and a block is decompressed once however many ask`() throws {
    try compress()
    let image = try workshop.open("disk.img.xz", as: nil, CompressionOptions(maxDepth: 3))
    try image.expect(Self.raw, threads: 8, reads: 40)
    #expect(image.cache.counts.peakBlocks <= 3)
    #expect(image.cache.counts.peakBytes <= 3 * 128 << 10)

    let whole = try workshop.open("disk.img.xz", as: nil, CompressionOptions(maxDepth: 100))
    try whole.expect(Self.raw, threads: 8, reads: 40)
    #expect(whole.cache.counts.fills == 12)
  }

  // MARK: Damage

  @Test(arguments: ["crc32", "crc64", "sha256"])
  func `a damaged block is EIO, and only it`(check: String) throws {
    try compress("--check=\(check) --block-size=128KiB")
    let sound = try XzBlocks(RawImage(path: workshop.file("disk.img.xz"))).blocks
    let original = try workshop.bytes(of: "disk.img.xz")
    var random = SeededGenerator(seed: testSeed)
    for number in 0..<sound.count {
      var bytes = original
      let block = sound[number]
      // Anywhere from the header to the check, which the unpadded length includes.
      bytes[Int(block.place + UInt64.random(in: 0..<block.length, using: &random))] ^= 0x10
      try workshop.write(bytes, to: "damaged.xz")
      let reports = Reports()
      let image = try workshop.open("damaged.xz", as: nil, CompressionOptions(report: reports.add))
      for other in 0..<sound.count {
        let range = sound[other].start..<sound[other].start + sound[other].count
        if other == number {
          #expect(throws: Errno.ioError, "block \(number), seed \(testSeed)") { try image.bytes(range) }
          #expect(throws: Errno.ioError) { try image.bytes(range.upperBound - 1..<range.upperBound) }
        } else {
          #expect(isSame(try image.bytes(range), Array(Self.raw[Int(range.lowerBound)..<Int(range.upperBound)])))
        }
      }
      #expect(reports.all.count == 1)
      #expect(reports.all.first?.contains("damaged.xz is damaged: its block \(number),") == true)
    }
  }

  @Test func `a file that is cut off or whose index is damaged is refused`() throws {
    try compress()
    let original = try workshop.bytes(of: "disk.img.xz")
    for count in [1, 5, 6, 11, 12, 13, 31, 32, 1000, original.count - 12, original.count - 4, original.count - 1] {
      try workshop.write(original[..<count], to: "cut.xz")
      let problem = try workshop.problem("cut.xz", as: .xz)
      #expect(problem != nil, "\(count) bytes")
    }
    // Every byte of the last index and the footer counts.
    for distance in 1...40 {
      var bytes = original
      bytes[original.count - distance] ^= 1
      try workshop.write(bytes, to: "bad.xz")
      #expect(try workshop.problem("bad.xz") != nil, "\(distance) bytes from the end")
    }
  }

  @Test func `bytes that no xz made are refused in their own words`() throws {
    try workshop.write([], to: "nothing")
    #expect(try workshop.problem("nothing", as: .xz) == .empty)
    #expect(try workshop.problem("disk.img", as: .xz) == .otherFormat)
    try workshop.write([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00], to: "magic")
    #expect(try workshop.problem("magic") != nil)
  }

  @Test func `random damage is never more than an error`() throws {
    let raw = Array(Self.raw[..<50_000])
    try workshop.write(raw, to: "small")
    try workshop.run("xz -0 --block-size=10000 small && cat small.xz small.xz > twice.xz")
    let once = try workshop.survive(try workshop.bytes(of: "small.xz"), of: raw, as: .xz, rounds: 600)
    let twice = try workshop.survive(try workshop.bytes(of: "twice.xz"), of: raw + raw, as: .xz, rounds: 200)
    #expect(once.refused > 0 && once.failed > 0 && twice.refused > 0 && twice.failed > 0, "seed \(testSeed)")
  }

  /// Damage whose checksums are right gets further.
  @Test func `random damage with valid checksums is never more than an error`() throws {
    let raw = Array(Self.raw[..<50_000])
    try workshop.write(raw, to: "small")
    // With threads, the headers have sizes.
    try workshop.run("xz -0 --threads=2 --block-size=10000 small")
    let original = try workshop.bytes(of: "small.xz")
    let blocks = try XzBlocks(RawImage(path: workshop.file("small.xz"))).blocks
    let last = blocks[blocks.count - 1]
    let index = Int((last.place + last.length + 3) & ~3)..<original.count - 12
    // A block header's filters and sizes.
    let headers = try workshop.survive(original, of: raw, as: .xz, rounds: 400) { bytes, random in
      var bytes = bytes
      let start = Int(blocks[Int.random(in: 0..<blocks.count, using: &random)].place)
      let count = (Int(bytes[start]) + 1) * 4
      bytes[start + Int.random(in: 1..<count - 4, using: &random)] = .random(in: 0...255, using: &random)
      seal(&bytes, start..<start + count)
      return bytes
    }
    #expect(headers.refused == 0 && headers.failed > 0, "seed \(testSeed)")
    // The index.
    let indexes = try workshop.survive(original, of: raw, as: .xz, rounds: 400, isVerified: false) { bytes, random in
      var bytes = bytes
      let place = Int.random(in: index.lowerBound..<index.upperBound - 4, using: &random)
      bytes[place] = .random(in: 0...255, using: &random)
      seal(&bytes, index)
      return bytes
    }
    #expect(indexes.refused > 0, "seed \(testSeed)")
  }

  /// Puts the CRC32 of a range of bytes into its last four.
  private func seal(_ bytes: inout [UInt8], _ range: Range<Int>) {
    let crc = crc32(0, Array(bytes[range.dropLast(4)]), UInt32(range.count - 4))
    for index in 0..<4 { bytes[range.upperBound - 4 + index] = UInt8(truncatingIfNeeded: crc >> (UInt(index) * 8)) }
  }

  // MARK: What is refused

  @Test func `a block larger than allowed is refused with xz's own remedy`() throws {
    try compress("--block-size=1MiB")
    let options = CompressionOptions(maxBlock: (1 << 20) - 1)
    #expect(try workshop.problem("disk.img.xz", as: nil, options) == .blockTooLarge(1 << 20, limit: (1 << 20) - 1))
    do {
      _ = try workshop.open("disk.img.xz", as: nil, options)
    } catch let error as CompressedImageError {
      #expect(error.description.contains("xz --block-size=16M"))
      #expect(error.description.contains("--max-block"))
    }
    #expect(try workshop.problem("disk.img.xz", as: nil, CompressionOptions(maxBlock: 1 << 20)) == nil)
  }

  @Test func `an archive is no image unless the user says so`() throws {
    try workshop.run("tar cf a.tar disk.img; xz -0 < a.tar > x.xz; xz -0 < disk.img > x.tar.xz; cp x.tar.xz x.TXZ")
    for name in ["x.xz", "x.tar.xz", "x.TXZ"] {
      #expect(try workshop.problem(name) == .archive)
      #expect(try workshop.problem(name, as: .xz, CompressionOptions(isForced: true)) == nil)
    }
  }

  // MARK: The compressed file

  @Test func `the compressed file is locked and watched, and cut off it is EIO`() throws {
    try compress()
    let image = try workshop.open("disk.img.xz")
    #expect(image.change() == nil)
    #expect(try image.bytes(0..<10) == Array(Self.raw[..<10]))
    try workshop.run("truncate -s 100000 disk.img.xz")
    #expect(image.change()?.contains("size") == true)
    #expect(throws: Errno.ioError) { try image.bytes(image.size - 10..<image.size) }
    // In memory.
    #expect(try image.bytes(0..<10) == Array(Self.raw[..<10]))
  }
}

@Suite struct ImageFormatTests {
  @Test func `formats are told by their first bytes`() throws {
    let workshop = try TemporaryDirectory()
    let cases: [([UInt8], ImageFormat)] = [
      ([], .raw), ([0xFD], .raw), ([0xFD, 0x37, 0x7A, 0x58, 0x5A], .raw), ([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0], .xz),
      ([0x28, 0xB5, 0x2F, 0xFD], .zstd), ([0x28, 0xB5, 0x2F], .raw), ([0x50, 0x2A, 0x4D, 0x18], .zstd),
      ([0x5F, 0x2A, 0x4D, 0x18, 9, 9, 9], .zstd), ([0x60, 0x2A, 0x4D, 0x18], .raw), ([0x1F, 0x8B, 8, 0, 0], .gzip),
      ([0x1F, 0x8B], .raw), ([0x1F, 0x8B, 7], .raw), ([UInt8](repeating: 0, count: 4096), .raw),
    ]
    for (bytes, format) in cases {
      let file = try RawImage(path: try workshop.write(bytes, to: "image"))
      #expect(try ImageFormat.detect(in: file) == format, "\(bytes.prefix(8))")
    }
  }

  @Test(arguments: [
    ("a.img.xz", "a.img"), ("a.XZ", "a"), (".xz", ".xz"), ("a", "a"), ("a.xz.img", "a.xz.img"), ("a.zst", "a.zst"),
  ])
  func `the name loses the format's suffix`(name: String, inside: String) {
    #expect(ImageFormat.xz.nameInside(name) == inside)
  }

  @Test func `other suffixes`() {
    #expect(ImageFormat.zstd.nameInside("d.img.zst") == "d.img")
    #expect(ImageFormat.zstd.nameInside("d.zstd") == "d")
    #expect(ImageFormat.gzip.nameInside("d.img.gz") == "d.img")
    #expect(ImageFormat.raw.nameInside("d.img.gz") == "d.img.gz")
    #expect(ImageFormat.gzip.isArchive("a.tgz") && ImageFormat.gzip.isArchive("a.tar.gz"))
    #expect(!ImageFormat.gzip.isArchive("a.gz") && !ImageFormat.raw.isArchive("a.tar"))
    #expect(ImageFormat.zstd.isArchive("a.tar.zst") && ImageFormat.zstd.isArchive("a.tzst"))
  }

  @Test func `every error is one line that names the file and the way out`() {
    let problems: [CompressedImageError.Problem] = [
      .empty, .otherFormat, .archive, .damaged("x"), .unknownFeature("x"), .blockTooLarge(2, limit: 1), .onePiece,
      .unusable(.ioError), .unusable(.noMemory), .cannotDecompress(.noSpace), .beyondLimit(1 << 20, part: 0),
      .beyondLimit(.max, part: 0.3),
    ]
    for format in ImageFormat.allCases {
      let texts = problems.map { CompressedImageError(path: "/a/b", format: format, problem: $0).description }
      #expect(texts.allSatisfy { $0.contains("/a/b") && !$0.contains("\n") })
      #expect(Set(texts).count == texts.count)
    }
  }
}
