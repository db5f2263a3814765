// Memory that costs nothing until it is touched.

import Glibc
import SystemPackage
import Testing

@testable import DiskIO

@Suite struct LazyMemoryTests {
  @Test func `nothing is accessible before it is asked for, and then it is zeros`() throws {
    let memory = try LazyMemory(capacity: 1 << 20)
    #expect(try !isReadable(memory.address))
    try memory.makeAccessible(8192)
    #expect(try isReadable(memory.address, 8192))
    #expect(try !isReadable(memory.address + 8192))
    let bytes = UnsafeRawBufferPointer(start: memory.address, count: 8192)
    #expect(bytes.allSatisfy { $0 == 0 })
  }

  @Test func `what becomes accessible later leaves what was there`() throws {
    let memory = try LazyMemory(capacity: 1 << 30)
    try memory.makeAccessible(4096)
    memory.address.storeBytes(of: 7, toByteOffset: 100, as: UInt8.self)
    try memory.makeAccessible(1 << 30)
    memory.address.storeBytes(of: 8, toByteOffset: 1 << 30 - 1, as: UInt8.self)
    #expect(memory.address.load(fromByteOffset: 100, as: UInt8.self) == 7)
    // Less is no taking back.
    try memory.makeAccessible(4096)
    #expect(memory.address.load(fromByteOffset: 1 << 30 - 1, as: UInt8.self) == 8)
    try memory.makeAccessible(0)
  }

  @Test func `discarded pages are zeros again, others stay`() throws {
    let memory = try LazyMemory(capacity: 1 << 20)
    try memory.makeAccessible(4 * 4096)
    for page in 0..<4 { memory.address.storeBytes(of: 7, toByteOffset: page * 4096, as: UInt8.self) }
    memory.discard(4096..<3 * 4096)
    memory.discard(0..<0)
    let found = (0..<4).map { memory.address.load(fromByteOffset: $0 * 4096, as: UInt8.self) }
    #expect(found == [7, 0, 0, 7])
    memory.address.storeBytes(of: 9, toByteOffset: 4096, as: UInt8.self)
    #expect(memory.address.load(fromByteOffset: 4096, as: UInt8.self) == 9)
  }

  @Test func `more than the address space is an error`() {
    #expect(throws: Errno.noMemory) { _ = try LazyMemory(capacity: 1 << 60) }
  }

  @Test func `gibibytes of it take no memory`() throws {
    func residentPages() throws -> Int {
      let fields = try File.readText("/proc/self/statm").split(separator: " ")
      return try #require(Int(fields[1]))
    }
    let before = try residentPages()
    let memory = try LazyMemory(capacity: 8 << 30)
    try memory.makeAccessible(8 << 30)
    memory.address.storeBytes(of: 7, toByteOffset: 5 << 30, as: UInt8.self)
    // Other tests run meanwhile: far less than the 2 million pages that 8 GiB are.
    #expect(try residentPages() - before < 500_000)
  }
}
