// What all tests of the engine share: bases made of memory, disks over them, bytes to compare.

@testable import DiskIO
import Glibc
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import CopyOnWrite

/// A base in memory, with holes where it is told to have them, that calls a hook before each access.
final class TestBase: BaseReader {
  let bytes: [UInt8]
  private let holes: [Range<UInt64>]
  private let beforeRead: @Sendable (UInt64) throws(Errno) -> Void
  private let beforeExtent: @Sendable (UInt64) throws(Errno) -> Void
  private let readCount = Atomic(0)
  private let byteCount = Atomic(0)

  var size: UInt64 { UInt64(bytes.count) }

  /// How often bytes were asked for, and how many in all.
  var reads: Int { readCount.load(ordering: .sequentiallyConsistent) }
  var bytesRead: Int { byteCount.load(ordering: .sequentiallyConsistent) }

  /// Creates a base; `holes` are in order, apart from each other, and are filled with zeros.
  init(
    _ bytes: [UInt8], holes: [Range<UInt64>] = [],
    beforeRead: @escaping @Sendable (UInt64) throws(Errno) -> Void = { _ in },
    beforeExtent: @escaping @Sendable (UInt64) throws(Errno) -> Void = { _ in }
  ) {
    var bytes = bytes
    for hole in holes {
      copy(zeros(hole.count)[...], into: &bytes, at: Int(hole.lowerBound))
    }
    self.bytes = bytes
    self.holes = holes
    self.beforeRead = beforeRead
    self.beforeExtent = beforeExtent
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    precondition(offset + UInt64(buffer.count) <= size, "the engine asked for bytes beyond the base")
    readCount.add(1, ordering: .sequentiallyConsistent)
    byteCount.add(buffer.count, ordering: .sequentiallyConsistent)
    try beforeRead(offset)
    bytes.withUnsafeBytes { bytes in
      let range = Int(offset)..<Int(offset) + buffer.count
      buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[range]))
    }
  }

  func extent(at offset: UInt64) throws(Errno) -> Extent {
    precondition(offset < size, "the engine asked for an extent beyond the base")
    try beforeExtent(offset)
    for hole in holes where offset < hole.upperBound {
      return offset < hole.lowerBound
        ? Extent(isData: true, end: hole.lowerBound) : Extent(isData: false, end: hole.upperBound)
    }
    return Extent(isData: true, end: size)
  }
}

/// A base that is one hole of any size.
final class HollowBase: BaseReader {
  let size: UInt64

  init(size: UInt64) {
    self.size = size
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) {
    precondition(offset + UInt64(buffer.count) <= size, "the engine asked for bytes beyond the base")
    buffer.initializeMemory(as: UInt8.self, repeating: 0)
  }

  func extent(at offset: UInt64) -> Extent { Extent(isData: false, end: size) }
}

/// The engine's code under the thread sanitizer sees overlay bytes that two threads touch on purpose as races.
let isThreadSanitized: Bool = dlsym(dlopen(nil, RTLD_NOW), "__tsan_init") != nil

func makeDisk(
  over base: any BaseReader, blockSize: Int = 4096, access: StoreAccess = .mapped,
  options: CowDisk.Options = .init(), in directory: FilePath = scratchDirectory,
  pageSize: Int = LazyMemory.pageSize
) throws -> CowDisk {
  guard let geometry = Geometry(blockSize: blockSize) else { preconditionFailure("\(blockSize) is no block size") }
  let scratch = try File.scratch(in: directory)
  return try CowDisk(
    base: base, geometry: geometry, scratch: scratch, options: options, access: access, pageSize: pageSize)
}

#if DEBUG
  /// A disk whose overlay's calls tests make fail, or come by.
  func makeDisk(
    over base: any BaseReader, blockSize: Int = 4096, access: StoreAccess = .mapped,
    options: CowDisk.Options = .init(), in directory: FilePath = scratchDirectory,
    pageSize: Int = LazyMemory.pageSize, faults: Faults
  ) throws -> CowDisk {
    guard let geometry = Geometry(blockSize: blockSize) else { preconditionFailure("\(blockSize) is no block size") }
    var scratch = try File.scratch(in: directory)
    scratch.faults = faults
    return try CowDisk(
      base: base, geometry: geometry, scratch: scratch, options: options, access: access, pageSize: pageSize)
  }
#endif

func zeros(_ count: Int) -> [UInt8] { filled(0, count) }

func filled(_ byte: UInt8, _ count: Int) -> [UInt8] {
  // The empty array is one that all share; filling it would be a race to the sanitizer.
  if count == 0 { return [] }
  return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
    if let start = buffer.baseAddress { memset(start, CInt(byte), count) }
    filled = count
  }
}

/// What ``pattern(_:salt:)`` cuts its bytes from, made once: these tests run in debug builds, where loops are slow.
private let patternSource: [UInt8] = {
  var words = [UInt64](repeating: 0, count: 1 << 17)
  for index in words.indices {
    words[index] = (UInt64(index) &+ 1) &* 0xD6E8_FEB8_6659_FD93 | 0x0101_0101_0101_0101
  }
  return words.withUnsafeBytes { [UInt8]($0) }
}()

/// Bytes that tell their place: a block that lands elsewhere, or a few bytes off, does not compare equal. Never zero.
func pattern(_ count: Int, salt: UInt64 = 0) -> [UInt8] {
  var result = zeros(count)
  // Not a power of two, so that the source does not repeat in step with blocks.
  let period = patternSource.count - 4093
  var place = 0
  while place < count {
    let start = (Int(salt % 4093) + place) % period
    place += copy(patternSource[start..<min(start + count - place, period)], into: &result, at: place)
  }
  return result
}

/// Copies bytes over those from `offset` on; how many.
@discardableResult
func copy(_ bytes: ArraySlice<UInt8>, into target: inout [UInt8], at offset: Int) -> Int {
  target.withUnsafeMutableBytes { target in
    bytes.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: target[offset...]).copyMemory(from: $0) }
  }
  return bytes.count
}

/// Memory to read into.
struct MemoryBuffer: ~Copyable {
  let bytes: UnsafeMutableRawBufferPointer

  init(count: Int, filledWith byte: CInt) {
    let start = UnsafeMutableRawPointer.allocate(byteCount: max(1, count), alignment: 16)
    memset(start, byte, count)
    bytes = UnsafeMutableRawBufferPointer(start: start, count: count)
  }

  deinit {
    bytes.baseAddress?.deallocate()
  }
}

extension BlockMap {
  var allocated: UInt64 { allocatedCount.load(ordering: .relaxed) }
  var cached: UInt64 { cachedCount.load(ordering: .relaxed) }
}

extension CowDisk {
  func write(_ bytes: [UInt8], at offset: UInt64) throws {
    try bytes.withUnsafeBytes { try write($0, at: offset) }
  }

  func bytes(_ range: Range<UInt64>) throws(Errno) -> [UInt8] {
    // What a read leaves out must not compare equal by chance.
    let buffer = MemoryBuffer(count: range.count, filledWith: 0xDE)
    try read(into: buffer.bytes, at: range.lowerBound)
    return [UInt8](UnsafeRawBufferPointer(buffer.bytes))
  }

  /// All of the disk.
  func contents() throws(Errno) -> [UInt8] { try bytes(0..<size) }
}

extension CowDisk {
  /// Expects all that holds of a disk that nobody uses. Nothing is looked at but in a debug build.
  func expectSound(
    mayLeak: Bool = false, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    #if DEBUG
      let wrong = try checkInvariants(mayLeak: mayLeak)
      #expect(wrong == [], comment, sourceLocation: sourceLocation)
    #endif
  }
}

/// Where two byte strings differ first, in words for a message; nil where they do not.
func difference(_ found: [UInt8], _ expected: [UInt8]) -> String? {
  if found.count != expected.count { return "\(found.count) bytes instead of \(expected.count)" }
  let isSame = found.withUnsafeBytes { found in
    expected.withUnsafeBytes { expected in
      guard let one = found.baseAddress, let other = expected.baseAddress else { return found.isEmpty }
      return memcmp(one, other, found.count) == 0
    }
  }
  if isSame { return nil }
  guard let index = found.indices.first(where: { found[$0] != expected[$0] }) else { return nil }
  return "byte \(index) is \(found[index]) instead of \(expected[index])"
}
