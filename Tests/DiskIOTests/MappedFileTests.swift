// Memory that may fault: a mapping of a file answers false instead of killing the process.

import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import DiskIO

@Suite struct MappedFileTests {
  private static let page: UInt64 = 4096

  /// A mapping that threads, and the macros of the tests, can share.
  private final class Mapping: Sendable {
    let mapping: MappedFile

    init(_ file: borrowing File, length: UInt64) throws(Errno) {
      guard let mapping = MappedFile(file, length: length) else { throw .noMemory }
      self.mapping = mapping
    }

    func store(_ bytes: [UInt8], at offset: UInt64) -> Bool {
      bytes.withUnsafeBytes { mapping.store($0, at: offset) }
    }

    func storeZeros(_ range: Range<UInt64>) -> Bool { mapping.storeZeros(range) }

    func pointer(at offset: UInt64) -> UnsafeMutableRawPointer { mapping.pointer(at: offset) }
  }

  @Test func `a store is in the file, and what is in the file is in the mapping`() throws {
    let file = try File.scratch()
    try file.setLength(3 * Self.page)
    let mapping = try Mapping(file, length: 1 << 30)
    #expect(mapping.mapping.length == 1 << 30)
    #expect(mapping.store([1, 2, 3], at: Self.page - 1))
    #expect(try file.read(Self.page - 2..<Self.page + 3) == [0, 1, 2, 3, 0])
    try file.write([9], at: Self.page)
    #expect(mapping.pointer(at: Self.page).load(as: UInt8.self) == 9)
    #expect(mapping.storeZeros(Self.page - 1..<Self.page + 1))
    #expect(try file.read(Self.page - 1..<Self.page + 2) == [0, 0, 3])
  }

  @Test func `its pages stay out of core files`() throws {
    let file = try File.scratch()
    try file.setLength(Self.page)
    let mapping = try Mapping(file, length: 16 * Self.page)
    var raw = stat()
    try #require(fstat(file.descriptor, &raw) == 0)
    // Both mappings: for reads and for stores.
    var flags: [[Substring]] = []
    var isOurs = false
    for line in try File.readText("/proc/self/smaps").split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count >= 5, words[0].contains("-") { isOurs = words[4] == "\(raw.st_ino)" }
      if isOurs, words[0] == "VmFlags:" { flags.append(words) }
    }
    #expect(flags.count == 2)
    for flags in flags { #expect(flags.contains("dd"), "\(flags)") }
    withExtendedLifetime(mapping) {}
  }

  @Test func `a store beyond the file's end fails and harms nobody`() throws {
    let file = try File.scratch()
    try file.setLength(Self.page)
    let mapping = try Mapping(file, length: 10 * Self.page)
    for _ in 0..<3 {
      #expect(!mapping.store([1, 2, 3], at: 5 * Self.page))
      #expect(!mapping.storeZeros(5 * Self.page..<6 * Self.page))
      // The part before the end may be there.
      #expect(!mapping.store([1, 2, 3, 4], at: Self.page - 2))
      // And the guard is whole again.
      #expect(mapping.store([7], at: 0))
    }
    #expect(try file.status().size == Self.page)
    try file.setLength(10 * Self.page)
    #expect(mapping.store([1, 2, 3], at: 5 * Self.page))
    #expect(try file.read(5 * Self.page..<5 * Self.page + 3) == [1, 2, 3])
  }

  @Test func `the kernel answers EFAULT for bytes beyond the end`() throws {
    let file = try File.scratch()
    try file.setLength(Self.page)
    let mapping = try Mapping(file, length: 10 * Self.page)
    #expect(try isReadable(mapping.pointer(at: 0)))
    #expect(try !isReadable(mapping.pointer(at: 5 * Self.page)))
  }

  @Test func `copies from and to faulting memory fail, whole ones do not`() throws {
    let file = try File.scratch()
    try file.setLength(Self.page)
    let mapping = try Mapping(file, length: 10 * Self.page)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 8192, alignment: 16)
    defer { memory.deallocate() }
    let bad = UnsafeMutableRawBufferPointer(start: mapping.pointer(at: 2 * Self.page), count: 8192)
    #expect(!GuardedCopy.copy(UnsafeRawBufferPointer(bad), to: memory))
    #expect(!GuardedCopy.copy(UnsafeRawBufferPointer(memory), to: bad))
    let good = UnsafeRawBufferPointer(start: mapping.pointer(at: 0), count: 4096)
    #expect(GuardedCopy.copy(good, to: memory))
    let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
    #expect(GuardedCopy.copy(nothing, to: memory))
  }

  @Test func `threads fault and store at the same time, each with its own outcome`() throws {
    let file = try File.scratch()
    try file.setLength(8 * Self.page)
    let mapping = try Mapping(file, length: 16 * Self.page)
    try concurrently(4) { index in
      for round in 0..<500 {
        let good = mapping.storeZeros(UInt64(index) * Self.page..<UInt64(index + 1) * Self.page)
        let place = UInt64(8 + index * 2 + round % 2) * Self.page
        try check(good && !mapping.storeZeros(place..<place + 100), "thread \(index), round \(round)")
      }
    }
  }

  /// "dd" among the flags of both mappings.
  @Test func `what is in a mapping is not in a core file`() throws {
    let file = try File.scratch()
    try file.setLength(Self.page)
    let mapping = try Mapping(file, length: 77 << 20)
    #expect(mapping.store([7], at: 0))
    var lengths: [Substring] = []
    var length: Substring = ""
    for line in try File.readText("/proc/self/smaps").split(separator: "\n") {
      if line.hasPrefix("Size:") { length = line.split(separator: " ")[1] }
      if line.hasPrefix("VmFlags:"), length == "\(77 << 10)", line.contains(" dd ") { lengths.append(length) }
    }
    #expect(lengths.count == 2)
  }

  @Test func `what cannot be mapped is nil`() throws {
    let file = try File.scratch()
    for length in [0, UInt64.max, 1 << 63, 1 << 60] {
      let isMapped = MappedFile(file, length: length) != nil
      #expect(!isMapped, "\(length)")
    }
  }
}
