// An overlay whose file system is full: ENOSPC to the writer and nothing else (O7).

import DiskIO
import SystemPackage
import TestSupport
import Testing

@testable import CopyOnWrite

@Suite(.enabled(if: TinyFileSystem.isAvailable, "a file system can be mounted"))
struct FullOverlayTests {
  private static let blockSize: UInt64 = 65536
  private static let blocks: UInt64 = 64
  private static let bytes = Int(blocks * blockSize)

  /// Writes block after block until that fails; how many there were.
  private func fill(_ disk: CowDisk, with byte: UInt8) throws -> UInt64 {
    for block in 0..<Self.blocks {
      do {
        try disk.write(filled(byte, Int(Self.blockSize)), at: block * Self.blockSize)
      } catch Errno.noSpace {
        return block
      }
    }
    return Self.blocks
  }

  @Test(arguments: StoreAccess.allCases)
  func `a full disk is ENOSPC to the writer, and nothing is lost`(access: StoreAccess) throws {
    let small = try TinyFileSystem(bytes: Self.bytes / 2)
    let base = TestBase(pattern(Self.bytes))
    let disk = try makeDisk(over: base, blockSize: Int(Self.blockSize), access: access, in: small.path)
    let ballast = try small.ballast(leaving: 10 * Self.blockSize + 5000)

    let written = try fill(disk, with: 7)
    #expect(written == 10)
    #expect(disk.allocatedBytes == 10 * Self.blockSize)
    let expected = filled(7, Int(written * Self.blockSize)) + base.bytes[Int(written * Self.blockSize)...]
    #expect(difference(try disk.contents(), expected) == nil)

    // What has its place can be written, what has none cannot, however small.
    try disk.write(filled(8, 100), at: 50)
    let untouched = 40 * Self.blockSize
    #expect(throws: Errno.noSpace) { try disk.write([1], at: untouched) }
    #expect(throws: Errno.noSpace) { try disk.zero(untouched + 5..<untouched + 6) }
    #expect(try disk.bytes(untouched..<disk.size) == Array(base.bytes[Int(untouched)...]))

    // There is space again, and writing goes on.
    _ = consume ballast
    try disk.write([1], at: untouched)
    try disk.write(filled(9, Int(Self.blockSize)), at: written * Self.blockSize)
    #expect(try disk.bytes(untouched..<untouched + 2) == [1, base.bytes[Int(untouched) + 1]])
    #expect(try disk.bytes(49..<151) == [7] + filled(8, 100) + [7])
  }

  @Test(arguments: [StoreAccess.mapped, .unmapped])
  func `a write that finds no space gives back what it had reserved`(access: StoreAccess) throws {
    let small = try TinyFileSystem(bytes: Self.bytes)
    let disk = try makeDisk(
      over: TestBase(pattern(Self.bytes)), blockSize: Int(Self.blockSize), access: access, in: small.path)
    let ballast = try small.ballast(leaving: 3 * Self.blockSize + 8192)
    let free = try small.free()
    #expect(throws: Errno.noSpace) { try disk.write(filled(7, 5 * Int(Self.blockSize)), at: 0) }
    #expect(disk.allocatedBytes == 0)
    #expect(try disk.usedSpace() == 0)
    #expect(try small.free() == free)
    _ = consume ballast
  }

  @Test func `trimming makes space to write elsewhere`() throws {
    let small = try TinyFileSystem(bytes: Self.bytes / 2)
    let disk = try makeDisk(over: TestBase(pattern(Self.bytes)), blockSize: Int(Self.blockSize), in: small.path)
    let written = try fill(disk, with: 7)
    try disk.zero(0..<2 * Self.blockSize)
    try disk.write(filled(9, Int(2 * Self.blockSize)), at: 50 * Self.blockSize)
    #expect(throws: Errno.noSpace) { try disk.write([1], at: 60 * Self.blockSize) }
    #expect(try disk.bytes(0..<2 * Self.blockSize) == zeros(Int(2 * Self.blockSize)))
    #expect(disk.allocatedBytes == written * Self.blockSize)
  }

  @Test func `a disk cannot be put on a file system that is full from the start`() throws {
    let small = try TinyFileSystem(bytes: 1 << 20)
    let ballast = try small.ballast(leaving: 4096)
    #expect(throws: Errno.noSpace) {
      _ = try makeDisk(over: TestBase(pattern(100)), blockSize: Int(Self.blockSize), in: small.path)
    }
    _ = consume ballast
  }

  @Test func `writers in place that lose their blocks to trims on a full file system are told, not killed`() throws {
    let small = try TinyFileSystem(bytes: 1 << 20)
    // They touch the same bytes at once; the thread sanitizer leaves that to the kernel only.
    let access: StoreAccess = isThreadSanitized ? .unmapped : .mapped
    let disk = try makeDisk(over: TestBase(pattern(Self.bytes)), blockSize: 4096, access: access, in: small.path)
    // Space for a few blocks, which writers of more blocks take from each other with each trim.
    let ballast = try small.ballast(leaving: 6 * 4096)
    try concurrently(4) { index in
      var generator = SeededGenerator(seed: testSeed &+ UInt64(index))
      for _ in 0..<1500 {
        let block = UInt64.random(in: 0..<10, using: &generator)
        if index == 3 {
          try disk.zero(block * 4096..<(block + 2) * 4096)
        } else {
          do {
            try disk.write(filled(UInt8(index + 1), 4096), at: block * 4096)
          } catch Errno.noSpace {
            continue
          }
        }
      }
    }
    _ = consume ballast
    try disk.zero(0..<disk.size)
    try disk.write(filled(5, 10 * 4096), at: 0)
    #expect(try disk.bytes(0..<10 * 4096) == filled(5, 10 * 4096))
  }

  @Test func `a write in place that the mapping cannot take is an error, and harms nobody`() throws {
    let small = try TinyFileSystem(bytes: 1 << 20)
    let disk = try makeDisk(over: TestBase(pattern(Self.bytes)), blockSize: 4096, in: small.path)
    try disk.write(filled(7, 3 * 4096), at: 0)
    // As where a disk fails: the block is allocated, but there is nothing behind its bytes and no space for it.
    try disk.store.punch(4096..<8192)
    let ballast = try small.ballast(leaving: 0)
    #expect(throws: Errno.noSpace) { try disk.write(filled(8, 3 * 4096), at: 0) }
    #expect(throws: Errno.noSpace) { try disk.zero(4100..<4200) }
    #expect(try disk.bytes(8192..<12288) == filled(7, 4096))
    _ = consume ballast
    try disk.write(filled(9, 3 * 4096), at: 0)
    #expect(try disk.bytes(0..<3 * 4096) == filled(9, 3 * 4096))
  }

  @Test func `a file system of more bytes than can be counted has space`() throws {
    let immense = try TinyFileSystem(options: "nr_blocks=\(Int64.max)")
    let base = TestBase(pattern(Self.bytes))
    for limit in [nil, .max] as [UInt64?] {
      let disk = try makeDisk(over: base, options: .init(maxOverlay: limit, copyOnRead: .always), in: immense.path)
      #expect(try disk.availableSpace() == .max && disk.spaceForCopies() > 1 << 60)
      #expect(try disk.bytes(0..<8192) == Array(base.bytes[..<8192]))
      #expect(disk.cachedBytes == 8192)
      #expect(try disk.availableSpace() == .max)
      try disk.reserve(0..<disk.size)
      try disk.write(filled(7, 100), at: 0)
    }
  }

  @Test func `a file system without fallocate works through pread and pwrite`() throws {
    let plain = try TinyFileSystem("ramfs", bytes: 1 << 20)
    let base = TestBase(pattern(Self.bytes))
    let disk = try makeDisk(over: base, blockSize: Int(Self.blockSize), in: plain.path)
    #expect(disk.store.pointer(at: 0, count: 1) == nil)
    try disk.write(filled(7, 100), at: 500)
    try disk.zero(0..<Self.blockSize)
    try disk.write([1], at: 10)
    #expect(try disk.bytes(0..<Self.blockSize) == zeros(10) + [1] + zeros(Int(Self.blockSize) - 11))
    #expect(throws: Errno.notSupportedOnSocket) { try disk.reserve(0..<disk.size) }
  }
}
