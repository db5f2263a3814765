// gzip files as gzip and pigz make them, and as damage makes them.

import CopyOnWrite
import DiskIO
import Glibc
import Images
import SystemPackage
import TestSupport
import Testing

@testable import CompressedImages

@Suite(.enabled(if: Tool.has("gzip"), "needs gzip")) struct GzipTests {
  private let workshop: TemporaryDirectory
  private static let raw = content(1_500_123)

  init() throws {
    workshop = try TemporaryDirectory()
    try workshop.write(Self.raw, to: "disk.img")
  }

  /// Opens a file with places that are so far apart.
  private func open(_ name: String, spacing: UInt64, reports: Reports = Reports()) throws -> CompressedImage {
    let file = try RawImage(path: workshop.file(name))
    let index = try GzipIndex(file, maxBlock: 1 << 24, spacing: spacing) { _ in }
    return CompressedImage(
      file, name: nil, blocks: GzipBlocks(file, index), cache: BlockCache(maxBlocks: 4, maxBytes: 1 << 24),
      report: reports.add)
  }

  @Test(arguments: ["-1", "-6", "-9"], [10_000, 200_000, 4 << 20] as [UInt64])
  func `every byte is that of the raw image`(level: String, spacing: UInt64) throws {
    try workshop.run("gzip -k \(level) disk.img")
    try open("disk.img.gz", spacing: spacing).expect(Self.raw)
  }

  @Test(
    .enabled(if: Tool.has("pigz"), "needs pigz"), arguments: ["-p 2", "-p 2 -i -b 128", "-p 1", "-11 -p 2 -b 512"])
  func `files of pigz are files of gzip`(options: String) throws {
    // Zopfli, which -11 means, is slow.
    let count = options.hasPrefix("-11") ? 200_000 : Self.raw.count
    try workshop.run("head -c \(count) disk.img | pigz \(options) > x.gz")
    try open("x.gz", spacing: 50_000).expect(Array(Self.raw[..<count]))
  }

  @Test func `members that were joined, with names, empty ones and padding, are one image`() throws {
    try workshop.run(
      """
      head -c 500001 disk.img | gzip > x.gz; gzip </dev/null >> x.gz
      tail -c +500002 disk.img | head -c 99999 > named; gzip -N --rsyncable named; cat named.gz >> x.gz
      tail -c +600001 disk.img | gzip -1 >> x.gz; head -c 1000 /dev/zero >> x.gz
      """)
    try workshop.open("x.gz").expect(Self.raw)
    try open("x.gz", spacing: 30_000).expect(Self.raw)
    #expect(try workshop.open("x.gz").name == "x")
  }

  /// As bgzip writes them.
  @Test func `many small members are many blocks`() throws {
    try workshop.run("split -b 20000 --filter=gzip disk.img > x.gz")
    let image = try workshop.open("x.gz")
    #expect(image.summary == "76 blocks of up to 20000 bytes")
    try image.expect(Self.raw)
  }

  @Test func `bytes that do not compress, and zeros, are fine`() throws {
    try workshop.run("head -c 3000000 /dev/urandom > random; head -c 9000000 /dev/zero > zeros; gzip -k random zeros")
    try open("random.gz", spacing: 100_000).expect(try workshop.bytes(of: "random"), reads: 20)
    try open("zeros.gz", spacing: 100_000).expect(try workshop.bytes(of: "zeros"), reads: 20)
  }

  @Test func `an image of no bytes is one`() throws {
    try workshop.run("gzip < /dev/null > x.gz")
    #expect(try workshop.open("x.gz").size == 0)
  }

  // MARK: Damage

  @Test func `a damaged file is refused`() throws {
    try workshop.run("gzip -k disk.img")
    let bytes = try workshop.bytes(of: "disk.img.gz")
    var random = SeededGenerator(seed: testSeed)
    for round in 0..<30 {
      var damaged = bytes
      // Behind the header, whose time and name nobody verifies.
      damaged[Int.random(in: 30..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      try workshop.write(damaged, to: "x.gz")
      #expect(try workshop.problem("x.gz") != nil, "round \(round) of seed \(testSeed)")
    }
    for count in [1, 2, 3, 9, 10, 18, 19, 1000, bytes.count - 8, bytes.count - 1] {
      try workshop.write(bytes[..<count], to: "x.gz")
      #expect(try workshop.problem("x.gz", as: .gzip) != nil, "\(count) bytes")
    }
    try workshop.write(bytes + [1, 2, 3], to: "x.gz")
    #expect(try workshop.problem("x.gz") == .damaged("at byte \(bytes.count), other bytes follow its end"))
    try workshop.write(bytes + [0, 0, 0x1F], to: "x.gz")
    #expect(try workshop.problem("x.gz") == .damaged("at byte \(bytes.count + 2), other bytes follow its end"))
    try workshop.write(bytes + [0x1F, 0x8B, 8, 0], to: "x.gz")
    #expect(try workshop.problem("x.gz") == .damaged("it ends in the middle"))
    #expect(try workshop.problem("disk.img", as: .gzip) == .otherFormat)
    try workshop.write([], to: "nothing")
    #expect(try workshop.problem("nothing", as: .gzip) == .empty)
  }

  @Test func `damage that comes later is EIO where it is`() throws {
    try workshop.run("gzip -k disk.img")
    let reports = Reports()
    let image = try open("disk.img.gz", spacing: 200_000, reports: reports)
    var bytes = try workshop.bytes(of: "disk.img.gz")
    bytes[bytes.count / 2] ^= 0x08
    // Into the same file, not a new one.
    try workshop.write(bytes, to: "disk.img.gz")
    var failed: [UInt64] = []
    for start in stride(from: 0, to: image.size, by: 10_000) {
      let end = min(image.size, start + 10_000)
      do {
        let found = try image.bytes(start..<end)
        #expect(isSame(found, Array(Self.raw[Int(start)..<Int(end)])), "from \(start) on")
      } catch {
        failed.append(start)
      }
    }
    #expect(!failed.isEmpty && (failed.last ?? 0) - (failed.first ?? 0) < 600_000)
    #expect(!reports.all.isEmpty)
    #expect(image.change() != nil)
  }

  @Test func `random damage is never more than an error`() throws {
    let raw = Array(Self.raw[..<50_000])
    try workshop.write(raw, to: "small")
    try workshop.run("gzip -k small; cat small.gz small.gz > twice.gz")
    let once = try workshop.survive(try workshop.bytes(of: "small.gz"), of: raw, as: .gzip, rounds: 500)
    let twice = try workshop.survive(try workshop.bytes(of: "twice.gz"), of: raw + raw, as: .gzip, rounds: 200)
    #expect(once.refused > 0 && twice.refused > 0)
  }

  // MARK: Limits

  @Test func `a piece that is too large is refused, or all is decompressed`() throws {
    // One deflate block of a gibibyte would be such a piece; a limit that is smaller than any block stands for it.
    try workshop.run("gzip -k disk.img; cat disk.img.gz disk.img.gz > twice.gz; head -c 100 /dev/zero >> twice.gz")
    var options = CompressionOptions(maxBlock: 1000)
    #expect(try workshop.problem("twice.gz", as: nil, options) == .onePiece)
    let directory = workshop.path
    options.scratch = { () throws(Errno) in try File.scratch(in: directory) }
    let image = try workshop.openAny("twice.gz", as: nil, options)
    try image.expect(Self.raw + Self.raw)
    #expect(image is DecompressedImage)
  }

  @Test func `a decompressed copy has holes, and fails as a whole where the file is damaged`() throws {
    let zeros = [UInt8](repeating: 0, count: 1 << 20)
    let sparse = zeros + Self.raw[..<(1 << 20)] + zeros + [0, 0, 0, 0, 0]
    try workshop.write(sparse, to: "sparse")
    try workshop.run("gzip -k sparse; xz -k sparse; zstd -q sparse")
    let directory = workshop.path
    for name in ["sparse.gz", "sparse.xz", "sparse.zst"] {
      var options = CompressionOptions(maxBlock: 1000)
      options.scratch = { () throws(Errno) in try File.scratch(in: directory) }
      let image = try workshop.openAny(name, as: nil, options)
      #expect(image is DecompressedImage)
      #expect(isSame(try image.bytes(0..<image.size), sparse))
      #expect(try image.extent(at: 0).isData == false)
      #expect(try image.extent(at: 1 << 20).isData)
      #expect(try image.extent(at: image.size - 1) == Extent(isData: false, end: image.size))

      var bytes = try workshop.bytes(of: name)
      bytes[bytes.count / 2] ^= 1
      try workshop.write(bytes, to: "bad")
      #expect(try workshop.problem("bad", as: nil, options) != nil)
      options.scratch = { () throws(Errno) in throw .noSpace }
      #expect(try workshop.problem(name, as: nil, options) == .cannotDecompress(.noSpace))
    }
  }

  @Test func `the pass tells how far it is`() throws {
    try workshop.run("gzip -k disk.img")
    let reports = Reports()
    var options = CompressionOptions()
    options.progress = { reports.add("\($0.task) \($0.done) of \($0.all)") }
    _ = try workshop.open("disk.img.gz", as: nil, options)
    let size = try RawImage(path: workshop.file("disk.img.gz")).size
    #expect(reports.all.last == "indexing \(size) of \(size)")
  }
}
