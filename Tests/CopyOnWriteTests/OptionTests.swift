// What a user may choose: a limit on the overlay, and zeros that are written but not kept.

import SystemPackage
import TestSupport
import Testing

@testable import CopyOnWrite

@Suite struct OptionTests {
  private static let size = 1 << 20
  private let base = TestBase(pattern(size))

  private func disk(_ options: CowDisk.Options, blockSize: Int = 4096) throws -> CowDisk {
    try makeDisk(over: base, blockSize: blockSize, options: options)
  }

  // MARK: maxOverlay

  @Test func `beyond the limit a first write finds no space, and nothing changes`() throws {
    let disk = try disk(.init(maxOverlay: 3 * 4096))
    try disk.write([1], at: 0)
    try disk.write(filled(2, 2 * 4096), at: 40960)
    #expect(throws: Errno.noSpace) { try disk.write([3], at: 81920) }
    #expect(throws: Errno.noSpace) { try disk.zero(81920..<81921) }
    #expect(try disk.bytes(81920..<81930) == Array(base.bytes[81920..<81930]))
    #expect(disk.allocatedBytes == 3 * 4096)
    #expect(try disk.availableSpace() == 0)
    // In place, and whole zero blocks, take nothing.
    try disk.write([4], at: 41000)
    try disk.zero(122_880..<126_976)
  }

  @Test func `trimming and cutting give back what counts against the limit`() throws {
    let disk = try disk(.init(maxOverlay: 2 * 4096))
    for _ in 0..<5 {
      try disk.write(filled(1, 2 * 4096), at: 8192)
      #expect(throws: Errno.noSpace) { try disk.write([1], at: 0) }
      try disk.zero(8192..<16384)
      try disk.write(filled(1, 2 * 4096), at: 8192)
      try disk.resize(to: 8192)
      #expect(try disk.availableSpace() == 2 * 4096)
      try disk.resize(to: UInt64(Self.size))
    }
  }

  @Test func `a write that fails for another reason gives its share back`() throws {
    let broken = TestBase(pattern(Self.size), beforeRead: { (_) throws(Errno) in throw .ioError })
    let disk = try makeDisk(over: broken, options: .init(maxOverlay: 4096))
    for _ in 0..<3 { #expect(throws: Errno.ioError) { try disk.write([1], at: 100) } }
    try disk.write(filled(1, 4096), at: 0)
  }

  @Test func `threads together never take more than the limit`() throws {
    let disk = try disk(.init(maxOverlay: 20 * 4096))
    try concurrently(4) { index in
      for block in stride(from: index, to: Self.size / 4096, by: 4) {
        do {
          try disk.write([1], at: UInt64(block) * 4096)
        } catch Errno.noSpace {
          continue
        }
      }
    }
    #expect(disk.allocatedBytes == 20 * 4096)
  }

  @Test func `no more can be reserved than the limit leaves`() throws {
    let disk = try disk(.init(maxOverlay: 4 * 4096))
    #expect(throws: Errno.noSpace) { try disk.reserve(0..<5 * 4096) }
    try disk.reserve(0..<4 * 4096)
    try disk.write(filled(1, 4 * 4096), at: 0)
    // What is allocated is not missing.
    try disk.reserve(0..<4 * 4096)
  }

  // MARK: detectZeroes

  @Test func `whole blocks of zeros that are written take no space`() throws {
    let disk = try disk(.init(detectZeroes: true))
    try disk.write(zeros(10 * 4096), at: 100)
    #expect(disk.allocatedBytes == 2 * 4096)
    let expected = base.bytes[..<100] + zeros(10 * 4096) + base.bytes[(100 + 10 * 4096)...]
    #expect(difference(try disk.contents(), Array(expected)) == nil)
  }

  @Test func `a block that is zeros but for one byte is data`() throws {
    let disk = try disk(.init(detectZeroes: true))
    for place in [0, 1, 2048, 4095] {
      var block = zeros(4096)
      block[place] = 1
      try disk.write(block, at: 8192)
      #expect(disk.allocatedBytes == 4096)
      #expect(try disk.bytes(8192..<12288) == block)
      try disk.write(zeros(4096), at: 8192)
      #expect(disk.allocatedBytes == 0)
    }
  }

  @Test func `a short last block of zeros is a whole one, also when the write made the disk grow`() throws {
    let disk = try makeDisk(over: TestBase(pattern(5000)), options: .init(detectZeroes: true))
    try disk.write(zeros(904), at: 4096)
    #expect(disk.allocatedBytes == 0)
    try disk.write(zeros(5000), at: 4096)
    #expect(disk.size == 9096 && disk.allocatedBytes == 0)
    #expect(try disk.contents() == pattern(5000)[..<4096] + zeros(5000))
    #expect(try disk.extent(at: 4096) == Extent(isData: false, end: 9096))
  }

  @Test(arguments: [UInt64(Int64.max) - 4095, .max - 4095, .max])
  func `zeros that no file can hold are too large`(offset: UInt64) throws {
    let disk = try disk(.init(detectZeroes: true))
    #expect(throws: Errno.fileTooLarge) { try disk.write(zeros(4096), at: offset) }
    #expect(disk.size == UInt64(Self.size))
  }
}
