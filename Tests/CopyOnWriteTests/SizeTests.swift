// Sizes: exact to the byte for every base, large ones at no cost, and what is too large is said to be.

import DiskIO
import SystemPackage
import TestSupport
import Testing

@testable import CopyOnWrite

@Suite struct SizeTests {
  private static let oddSizes = [0, 1, 511, 512, 4095, 4096, 4097, 130_000]

  @Test(arguments: oddSizes, StoreAccess.allCases)
  func `a disk is as large as its base and can be written to its last byte`(size: Int, access: StoreAccess) throws {
    let base = TestBase(pattern(size))
    let disk = try makeDisk(over: base, access: access)
    #expect(disk.size == UInt64(size))
    #expect(try disk.contents() == base.bytes)
    guard size > 0 else { return }
    try disk.write([7], at: UInt64(size - 1))
    #expect(disk.size == UInt64(size))
    #expect(try disk.contents() == base.bytes.dropLast() + [7])
    try disk.zero(0..<UInt64(size))
    #expect(disk.allocatedBytes == 0)
    #expect(try disk.contents() == zeros(size))
  }

  @Test(arguments: oddSizes)
  func `what a disk grows by reads as zeros, whatever was there before a cut`(size: Int) throws {
    let base = TestBase(pattern(size))
    for cut in [0, size / 2, size] {
      for written in [false, true] {
        let disk = try makeDisk(over: base)
        if written { try disk.write(filled(7, size), at: 0) }
        try disk.resize(to: UInt64(cut))
        try disk.resize(to: UInt64(size + 5000))
        let kept = written ? filled(7, cut) : Array(base.bytes[..<cut])
        #expect(try disk.contents() == kept + zeros(size + 5000 - cut), "cut at \(cut)")
      }
    }
  }

  @Test func `a write past the end makes the disk grow, with zeros between`() throws {
    let disk = try makeDisk(over: TestBase([1, 2, 3]))
    try disk.write([9], at: 100_000)
    #expect(disk.size == 100_001)
    #expect(try disk.contents() == [1, 2, 3] + zeros(99_997) + [9])
    #expect(disk.allocatedBytes == 4096)
  }

  @Test func `a write of nothing makes no disk grow`() throws {
    let disk = try makeDisk(over: TestBase([1, 2, 3]))
    try disk.write([], at: 100_000)
    #expect(disk.size == 3)
    #expect(disk.allocatedBytes == 0)
  }

  // MARK: Large ones

  @Test(.timeLimit(.minutes(1)), arguments: [(4 << 30) - 1, 4 << 30, (4 << 30) + 1, 15 << 40] as [UInt64])
  func `a large sparse disk costs what is written to it`(size: UInt64) throws {
    let disk = try makeDisk(over: HollowBase(size: size))
    #expect(disk.size == size)
    try disk.write([7], at: size - 1)
    try disk.write([8, 8], at: size / 2)
    // Several times: nothing may depend on the size.
    for _ in 0..<20 {
      try disk.zero(0..<size - 8192)
      #expect(try disk.extent(at: 0) == Extent(isData: false, end: (size - 1) / 4096 * 4096))
    }
    #expect(try disk.bytes(size - 2..<size) == [0, 7])
    #expect(disk.allocatedBytes == 4096)
    #expect(try disk.usedSpace() < 1 << 20)
  }

  @Test(.timeLimit(.minutes(1)))
  func `a large sparse disk is trimmed at no cost when space was reserved somewhere`() throws {
    let size: UInt64 = 15 << 40
    let disk = try makeDisk(over: HollowBase(size: size))
    try disk.reserve(1 << 40..<1 << 40 + 65536)
    try disk.zero(0..<size)
    #expect(try disk.usedSpace() < 65536)
  }

  @Test(arguments: [(4 << 30) - 3, 4 << 30, 1 << 41] as [UInt64])
  func `bytes around a border of 32 bits, or far off, are kept apart`(border: UInt64) throws {
    let disk = try makeDisk(over: HollowBase(size: border + (1 << 20)))
    try disk.write(pattern(9000), at: border - 4500)
    #expect(try disk.bytes(border - 4500..<border + 4500) == pattern(9000))
    #expect(try disk.bytes(0..<9000) == zeros(9000))
    try disk.zero(border - 100..<border + 100)
    #expect(try disk.bytes(border - 101..<border + 101) == [pattern(9000)[4399]] + zeros(200) + [pattern(9000)[4600]])
  }

  // MARK: Too large

  @Test func `a size that no file can have is too large, and nothing changes`() throws {
    let disk = try makeDisk(over: TestBase([1, 2, 3]))
    for size in [65 << 40, UInt64(Int64.max) - 1, UInt64(Int64.max), 1 << 63, .max] {
      #expect(throws: Errno.fileTooLarge, "\(size)") { try disk.resize(to: size) }
    }
    #expect(throws: Errno.fileTooLarge) { try disk.write([1, 2], at: UInt64(Int64.max) - 1) }
    #expect(throws: Errno.fileTooLarge) { try disk.write([1, 2], at: .max) }
    #expect(disk.size == 3)
    #expect(try disk.contents() == [1, 2, 3])
    try disk.resize(to: 10_000)
    #expect(try disk.contents() == [1, 2, 3] + zeros(9997))
  }

  @Test(arguments: (12...21).map { 1 << $0 })
  func `a base of nearly all bytes that can be counted is too large`(blockSize: Int) throws {
    for size in [UInt64(Int64.max), 1 << 63, .max] {
      #expect(throws: Errno.fileTooLarge, "\(size)") {
        try makeDisk(over: HollowBase(size: size), blockSize: blockSize)
      }
    }
  }

  @Test func `a base too large for the overlay's file system is said to be`() throws {
    let size: UInt64 = 20 << 40
    let probe = try File.scratch(in: scratchDirectory)
    do {
      try probe.setLength(size)
      // This file system takes it: so must the engine.
      #expect(try makeDisk(over: HollowBase(size: size)).size == size)
    } catch Errno.fileTooLarge {
      #expect(throws: Errno.fileTooLarge) { try makeDisk(over: HollowBase(size: size)) }
      let disk = try makeDisk(over: TestBase([1]))
      #expect(throws: Errno.fileTooLarge) { try disk.resize(to: size) }
      #expect(disk.size == 1)
    }
  }
}
