// Holes and space.

import Glibc
import SystemPackage
import Testing

@testable import DiskIO

@Suite struct SpaceTests {
  private static let mebibyte: UInt64 = 1 << 20

  /// A file of 4 MiB with data in its second, and a hole in all else.
  private func sparseFile() throws -> File {
    let file = try File.scratch()
    try file.setLength(4 * Self.mebibyte)
    try file.write([UInt8](repeating: 7, count: Int(Self.mebibyte)), at: Self.mebibyte)
    return file
  }

  @Test func `data and holes are found from anywhere`() throws {
    let file = try sparseFile()
    let data = Self.mebibyte..<2 * Self.mebibyte
    for offset in [0, 5, data.lowerBound - 1] {
      #expect(try file.nextData(from: offset) == data.lowerBound)
      #expect(try file.nextHole(from: offset) == offset)
    }
    for offset in [data.lowerBound, data.lowerBound + 4097, data.upperBound - 1] {
      #expect(try file.nextData(from: offset) == offset)
      #expect(try file.nextHole(from: offset) == data.upperBound)
    }
    #expect(try file.nextData(from: data.upperBound) == nil)
  }

  @Test func `the end of a file is a hole, and beyond it is nothing`() throws {
    let file = try File.scratch()
    try file.write([1, 2, 3])
    #expect(try file.nextHole(from: 0) == 3)
    #expect(try file.nextData(from: 3) == nil)
    #expect(throws: Errno.noSuchAddressOrDevice) { try file.nextHole(from: 4) }
    let empty = try File.scratch()
    #expect(try empty.nextData(from: 0) == nil)
  }

  @Test func `a punched hole reads as zeros and takes no space, and the length stays`() throws {
    let file = try sparseFile()
    try file.punchHole(Self.mebibyte..<2 * Self.mebibyte)
    #expect(try file.nextData(from: 0) == nil)
    #expect(try file.read(Self.mebibyte..<Self.mebibyte + 3) == [0, 0, 0])
    #expect(try file.status().size == 4 * Self.mebibyte)
    #expect(try file.status().sectors * 512 < 65536)
  }

  @Test func `a hole within a page zeros just its bytes`() throws {
    let file = try File.scratch()
    try file.write([1, 2, 3, 4, 5])
    try file.punchHole(1..<3)
    #expect(try file.read(0..<5) == [1, 0, 0, 4, 5])
  }

  @Test func `reserved space is taken, reads as zeros, and does not change the length`() throws {
    let file = try File.scratch()
    try file.setLength(100)
    try file.reserve(0..<Self.mebibyte)
    #expect(try file.status().sectors * 512 >= Self.mebibyte)
    #expect(try file.status().size == 100)
    #expect(try file.read(0..<100) == [UInt8](repeating: 0, count: 100))
    try file.write([9], at: 50)
    try file.reserve(0..<Self.mebibyte)
    #expect(try file.read(49..<52) == [0, 9, 0])
  }

  @Test func `a length can be set both ways, and what comes back is zeros`() throws {
    let file = try File.scratch()
    try file.write([1, 2, 3, 4])
    try file.setLength(2)
    try file.setLength(5)
    #expect(try file.read(0..<5) == [1, 2, 0, 0, 0])
  }

  @Test func `what no file can hold is too large`() throws {
    let file = try File.scratch()
    #expect(throws: Errno.fileTooLarge) { try file.setLength(1 << 63) }
    #expect(throws: Errno.fileTooLarge) { try file.reserve(0..<1 << 63) }
    #expect(throws: Errno.fileTooLarge) { try file.punchHole(1 << 63..<1 << 63 + 1) }
    #expect(throws: Errno.self) { try file.setLength(UInt64(Int64.max)) }
    #expect(try file.status().size == 0)
  }

  @Test func `the space that is left is told`() throws {
    let file = try File.scratch()
    var raw = statvfs()
    #expect(fstatvfs(file.descriptor, &raw) == 0)
    let total = UInt64(raw.f_blocks) * UInt64(raw.f_frsize)
    #expect(try (1...total).contains(file.availableSpace()))
  }

  /// Where -1 means that nobody knows, and on a tmpfs with as many blocks as there can be.
  @Test(arguments: [fsblkcnt_t.max, fsblkcnt_t(Int64.max), 1 << 60])
  func `more space than can be counted is endless`(blocks: fsblkcnt_t) {
    var raw = statvfs()
    (raw.f_blocks, raw.f_bavail, raw.f_frsize) = (blocks, blocks, 4096)
    #expect(raw.totalBytes == .max && raw.availableBytes == .max)
    (raw.f_blocks, raw.f_bavail) = (blocks, 3)
    #expect(raw.totalBytes == .max && raw.availableBytes == 3 * 4096)
    (raw.f_blocks, raw.f_bavail) = (0, 0)
    #expect(raw.totalBytes == .max && raw.availableBytes == .max)
  }

  @Test func `a file that takes more space than can be counted takes all there is`() {
    var raw = stat()
    (raw.st_size, raw.st_blocks) = (.max, .max)
    #expect(FileStatus(raw).space == .max)
    (raw.st_size, raw.st_blocks) = (-1, -1)
    #expect(FileStatus(raw).space == 0 && FileStatus(raw).size == 0)
    for size in [UInt64.max, UInt64(Int64.max)] {
      #expect(FileStatus(ofNewFileWithSize: size).sectors == size / 512 + 1)
    }
    #expect(FileStatus(ofNewFileWithSize: 1024).sectors == 2)
  }
}
