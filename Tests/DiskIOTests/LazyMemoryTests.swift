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

  /// On kernels with 16 or 64 KiB pages, too, and with more than all of it in one: what cannot be given back is zeros.
  @Test(arguments: [4096, 16384, 65536, 1 << 30])
  func `whatever is discarded is zeros, and nothing else`(pageSize: Int) throws {
    let count = 5 * 65536
    let memory = try LazyMemory(capacity: count, pageSize: pageSize)
    try memory.makeAccessible(count)
    let places = [
      0, 1, 4096, 8192, 12288, 16384, 20480, 65536, 69632, 131_072, 200_000, count - 4096, count - 1, count,
    ]
    for start in places {
      for end in places where end >= start {
        memset(memory.address, 7, count)
        memory.discard(start..<end)
        let bytes = UnsafeRawBufferPointer(start: memory.address, count: count)
        let isRight =
          consist(bytes[..<start], of: 7) && consist(bytes[end...], of: 7) && consist(bytes[start..<end], of: 0)
        #expect(isRight, "\(start)..<\(end)")
      }
    }
  }

  /// By the C library: there are many of them.
  private func consist(_ bytes: Slice<UnsafeRawBufferPointer>, of value: UInt8) -> Bool {
    let bytes = UnsafeRawBufferPointer(rebasing: bytes)
    guard let start = bytes.baseAddress, bytes.count > 0 else { return true }
    return bytes[0] == value && memcmp(start, start + 1, bytes.count - 1) == 0
  }

  @Test func `memory that the kernel does not take back is zeros all the same`() throws {
    let count = 4 * LazyMemory.pageSize
    let memory = try LazyMemory(capacity: count)
    try memory.makeAccessible(count)
    memset(memory.address, 7, count)
    try #require(mlock(memory.address, count) == 0)
    #expect(
      madvise(memory.address, count, MADV_DONTNEED) == -1, "the kernel takes locked pages back: nothing is tested")
    memory.discard(0..<count)
    #expect(UnsafeRawBufferPointer(start: memory.address, count: count).allSatisfy { $0 == 0 })
  }

  @Test func `whole pages that are discarded go back to the kernel`() throws {
    let page = LazyMemory.pageSize
    let memory = try LazyMemory(capacity: 5 * page)
    try memory.makeAccessible(5 * page)
    memset(memory.address, 7, 5 * page)
    memory.discard(page - 1..<4 * page + 1)
    var isResident = [UInt8](repeating: 9, count: 5)
    try #require(mincore(memory.address, 5 * page, &isResident) == 0)
    #expect(isResident.map { $0 & 1 } == [1, 0, 0, 0, 1])
  }
}
