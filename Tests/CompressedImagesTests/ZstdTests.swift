// zstd files as zstd and pzstd make them, with seek tables made here, and as damage makes them.

import CopyOnWrite
import DiskIO
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import CompressedImages

@Suite(.enabled(if: Tool.has("zstd") && Tool.has("pzstd"), "needs zstd and pzstd")) struct ZstdTests {
  private let workshop: TemporaryDirectory
  private static let raw = content(1_500_123)

  init() throws {
    workshop = try TemporaryDirectory()
    try workshop.write(Self.raw, to: "disk.img")
  }

  /// Compresses pieces of so many bytes as frames that tell their size, and returns each frame.
  private func frames(of size: Int, _ options: String = "") throws -> [[UInt8]] {
    try workshop.run("rm -f part.* && split -a 4 -b \(size) disk.img part. && zstd -q --rm \(options) part.*")
    let count = (Self.raw.count + size - 1) / size
    let letters = Array("abcdefghijklmnopqrstuvwxyz")
    return try (0..<count).map { number in
      let name = [17576, 676, 26, 1].map { String(letters[number / $0 % 26]) }.joined()
      return try workshop.bytes(of: "part.\(name).zst")
    }
  }

  /// What the seekable format has at the end.
  private func seekTable(_ entries: [(length: Int, count: Int, checksum: [UInt8])], hasChecksums: Bool) -> [UInt8] {
    func word(_ number: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) } }
    let body = entries.flatMap { word($0.length) + word($0.count) + (hasChecksums ? $0.checksum : []) }
    let footer = word(entries.count) + [hasChecksums ? 0x80 : 0] + [0xB1, 0xEA, 0x92, 0x8F]
    return [0x5E, 0x2A, 0x4D, 0x18] + word(body.count + 9) + body + footer
  }

  private func seekable(_ size: Int, checksums: [[UInt8]]? = nil, _ options: String = "") throws -> [UInt8] {
    let frames = try frames(of: size, options)
    let entries = frames.enumerated().map { index, frame in
      (frame.count, min(size, Self.raw.count - index * size), checksums?[index] ?? [])
    }
    return frames.flatMap { $0 } + seekTable(entries, hasChecksums: checksums != nil)
  }

  // MARK: Sound files

  @Test(arguments: ["zstd -q -T0", "pzstd -q -p 1", "pzstd -q -p 2 -1"])
  func `every byte is that of the raw image`(command: String) throws {
    try workshop.run("\(command) disk.img -o x.zst")
    let image = try workshop.open("x.zst")
    try image.expect(Self.raw)
    #expect(image.name == "x")
  }

  @Test(arguments: [10_000, 131_072, 1 << 20], ["", "--no-check", "--long=27 -19", "-1 --format=zstd"])
  func `frames that were joined are blocks`(size: Int, options: String) throws {
    try workshop.write(try frames(of: size, options).joined(), to: "x.zst")
    let image = try workshop.open("x.zst")
    try image.expect(Self.raw)
    #expect(image.summary.hasPrefix("\((Self.raw.count + size - 1) / size) blocks of up to \(size) bytes"))
  }

  @Test func `frames that do not tell their size, empty ones and ones to skip are fine`() throws {
    try workshop.run("split -b 200000 --filter='zstd -q; zstd -q </dev/null' disk.img > x.zst")
    let skip: [UInt8] = [0x53, 0x2A, 0x4D, 0x18, 5, 0, 0, 0, 1, 2, 3, 4, 5]
    try workshop.write(skip + workshop.bytes(of: "x.zst") + skip, to: "y.zst")
    for name in ["x.zst", "y.zst"] {
      let image = try workshop.open(name)
      try image.expect(Self.raw)
      #expect(image.summary == "8 blocks of up to 200000 bytes")
    }
  }

  @Test func `an image of no bytes is one`() throws {
    try workshop.run("zstd -q < /dev/null > x.zst")
    #expect(try workshop.open("x.zst").size == 0)
  }

  @Test func `the hash is the one in zstd's own frames`() throws {
    for count in [0, 1, 3, 4, 7, 8, 9, 31, 32, 33, 63, 64, 100, 1000, 4097] {
      try workshop.write(Self.raw[..<count], to: "piece")
      try workshop.run("zstd -q -f --check piece")
      let hash = Self.raw[..<count].withUnsafeBytes { XXHash64.hash($0) }
      let frame = try workshop.bytes(of: "piece.zst").suffix(4)
      #expect((0..<4).map { UInt8(truncatingIfNeeded: hash >> ($0 * 8)) } == Array(frame), "\(count) bytes")
    }
  }

  // MARK: Seek tables

  @Test func `a seek table is used, and its checksums are verified`() throws {
    // zstd's checksum of a frame is the table's.
    let checksums = try frames(of: 100_000, "--check").map { Array($0.suffix(4)) }
    let bytes = try seekable(100_000, checksums: checksums, "--no-check")
    let reports = Reports()
    try workshop.write(bytes, to: "x.zst")
    let image = try workshop.open("x.zst", as: nil, CompressionOptions(report: reports.add))
    try image.expect(Self.raw)
    #expect(image.summary == "16 blocks of up to 100000 bytes")
    #expect(reports.all == [])

    var wrong = checksums
    wrong[5][2] ^= 1
    try workshop.write(try seekable(100_000, checksums: wrong, "--no-check"), to: "y.zst")
    let damaged = try workshop.open("y.zst", as: nil, CompressionOptions(report: reports.add))
    #expect(throws: Errno.ioError) { try damaged.bytes(500_000..<500_001) }
    #expect(isSame(try damaged.bytes(400_000..<500_000), Array(Self.raw[400_000..<500_000])))
    #expect(isSame(try damaged.bytes(600_000..<700_000), Array(Self.raw[600_000..<700_000])))
    #expect(reports.all.count == 1)
  }

  @Test func `a seek table that does not fit is not used`() throws {
    let bytes = try seekable(100_000)
    // Joined files, a size that is another's, a frame that is left out, and one that begins elsewhere.
    var sizes = bytes
    sizes[bytes.count - 9 - 4] ^= 1
    var hidden = bytes
    hidden.replaceSubrange(bytes.count - 9 - 4..<bytes.count - 9, with: [0, 0, 0, 0])
    var places = bytes
    places[bytes.count - 9 - 8] ^= 1
    places[bytes.count - 9 - 16] ^= 1
    for (wrong, copies) in [(bytes + bytes, 2), (sizes, 1), (hidden, 1), (places, 1)] {
      try workshop.write(wrong, to: "x.zst")
      let reports = Reports()
      let image = try workshop.open("x.zst", as: nil, CompressionOptions(report: reports.add))
      try image.expect(Array(repeatElement(Self.raw, count: copies).joined()))
      #expect(reports.all.count == 1 && reports.all[0].contains("seek table"))
    }
  }

  // MARK: Damage

  @Test func `a damaged frame is EIO, and only it`() throws {
    let frames = try frames(of: 200_000)
    for number in frames.indices {
      var damaged = frames
      // In the checksum, behind all that walking looks at.
      damaged[number][damaged[number].count - 2] ^= 0x40
      try workshop.write(damaged.joined(), to: "x.zst")
      let reports = Reports()
      let image = try workshop.open("x.zst", as: nil, CompressionOptions(report: reports.add))
      for other in frames.indices {
        let range = UInt64(other * 200_000)..<UInt64(min(Self.raw.count, (other + 1) * 200_000))
        if other == number {
          #expect(throws: Errno.ioError) { try image.bytes(range) }
        } else {
          #expect(isSame(try image.bytes(range), Array(Self.raw[Int(range.lowerBound)..<Int(range.upperBound)])))
        }
      }
      #expect(reports.all.count == 1)
    }
  }

  @Test func `a file that is cut off, or no zstd file, is refused`() throws {
    let frames = try frames(of: 500_000)
    let bytes = Array(frames.joined())
    for count in [1, 3, 4, 5, 8, 20, frames[0].count - 1, frames[0].count + 3, bytes.count - 1] {
      try workshop.write(bytes[..<count], to: "x.zst")
      #expect(try workshop.problem("x.zst", as: .zstd) != nil, "\(count) bytes")
    }
    #expect(try workshop.problem("disk.img", as: .zstd) == .otherFormat)
    try workshop.write([], to: "nothing")
    #expect(try workshop.problem("nothing", as: .zstd) == .empty)
    try workshop.write(bytes + [1, 2, 3], to: "x.zst")
    #expect(try workshop.problem("x.zst") == .damaged("at byte \(bytes.count), no whole frame begins"))
  }

  @Test func `random damage is never more than an error`() throws {
    let raw = Array(Self.raw[..<60_000])
    try workshop.write(raw, to: "small")
    try workshop.run("split -b 10000 --filter='zstd -q' small > piped.zst")
    try workshop.run("rm -f part.*; split -b 10000 small part. && zstd -q --rm part.* && cat part.* > told.zst")
    let told = try workshop.bytes(of: "told.zst")
    let parts = try "abcdef".map { try workshop.bytes(of: "part.a\($0).zst").count }
    let table = seekTable(parts.map { ($0, 10_000, []) }, hasChecksums: false)
    for original in [told, told + table] {
      let survival = try workshop.survive(original, of: raw, as: .zstd, rounds: 400)
      #expect(survival.refused > 0 && survival.opened > 0, "seed \(testSeed)")
    }
    // To count their bytes, all of these are decompressed when the file is opened: damage is found then.
    let piped = try workshop.survive(try workshop.bytes(of: "piped.zst"), of: raw, as: .zstd, rounds: 400)
    #expect(piped.refused > 0 && piped.failed == 0, "seed \(testSeed)")
  }

  /// A header of a few bytes that tells of a frame of exbibytes, or of a window of gibibytes.
  @Test func `sizes that lie cost no memory`() throws {
    var huge: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0xE0] + [UInt8](repeating: 0x3F, count: 8)
    huge += [0x01, 0x00, 0x00]
    try workshop.write(huge, to: "x.zst")
    #expect(try workshop.problem("x.zst") == .onePiece)
    try workshop.write(huge + huge, to: "x.zst")
    #expect(try workshop.problem("x.zst") == .blockTooLarge(0x3F3F_3F3F_3F3F_3F3F, limit: 512 << 20))
    try workshop.write((0..<4).flatMap { _ in huge }, to: "x.zst")
    #expect(try workshop.problem("x.zst") == .damaged("its frames tell of more bytes than a file can have"))
    // A window of 2 GiB and a block of 5 bytes, as they are.
    try workshop.write([0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xA8, 0x29, 0x00, 0x00, 1, 2, 3, 4, 5], to: "x.zst")
    #expect(try workshop.open("x.zst").bytes(0..<5) == [1, 2, 3, 4, 5])
  }

  // MARK: One piece

  @Test func `a single frame that is too large is refused with remedies, or decompressed`() throws {
    try workshop.run("zstd -q disk.img -o told.zst; zstd -q < disk.img > piped.zst")
    for name in ["told.zst", "piped.zst"] {
      var options = CompressionOptions(maxBlock: 1 << 20)
      #expect(try workshop.problem(name, as: nil, options) == .onePiece)
      let directory = workshop.path
      options.scratch = { () throws(Errno) in try File.scratch(in: directory) }
      let image = try workshop.openAny(name, as: nil, options)
      try image.expect(Self.raw)
      #expect(image is DecompressedImage)
      options.scratchLimit = 100_000
      guard case .beyondLimit(100_000, _) = try workshop.problem(name, as: nil, options) else {
        Issue.record("the limit was not heeded")
        return
      }
    }
  }

  @Test func `an archive is no image unless the user says so`() throws {
    try workshop.run("tar cf a.tar disk.img; zstd -q a.tar -o x.zst")
    try workshop.run("zstd -q disk.img -o x.tar.zst; cp x.tar.zst x.tzst")
    for name in ["x.zst", "x.tar.zst", "x.tzst"] {
      #expect(try workshop.problem(name) == .archive)
      #expect(try workshop.problem(name, as: .zstd, CompressionOptions(isForced: true)) == nil)
    }
    var options = CompressionOptions(maxBlock: 1 << 20)
    let directory = workshop.path
    options.scratch = { () throws(Errno) in try File.scratch(in: directory) }
    #expect(try workshop.problem("x.zst", as: nil, options) == .archive)
  }
}
