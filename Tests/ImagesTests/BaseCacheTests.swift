// Reading past the page cache: the same bytes at every alignment, and nothing of them left in memory.

import CLinux
import CopyOnWrite
import DiskIO
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import Images

@Suite(.enabled(if: PageCache.canBeAvoided, "the file system of TMPDIR can read past the page cache"))
struct BaseCacheTests {
  /// Ends in the middle of a sector.
  private static let size = 5 * (1 << 20) + 700

  private static let bytes: [UInt8] = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8 &+ $0 >> 16) | 1 }

  private func image(avoidsCache: Bool = true, in directory: TemporaryDirectory) throws -> RawImage {
    let path = try directory.makeImage(size: UInt64(Self.size), data: Self.bytes)
    try PageCache.evict(path)
    let image = try RawImage(path: path, avoidsCache: avoidsCache)
    #expect(image.avoidsCache == avoidsCache)
    return image
  }

  @Test(arguments: [true, false])
  func `what is read leaves nothing in the page cache`(avoidsCache: Bool) throws {
    let directory = try TemporaryDirectory()
    let image = try image(avoidsCache: avoidsCache, in: directory)
    #expect(try PageCache.resident(directory.image) == 0)
    for start in stride(from: 0, to: image.size, by: 1 << 20) {
      let range = start..<min(start + 1 << 20, image.size)
      #expect(try image.bytes(range) == Array(Self.bytes[Int(range.lowerBound)..<Int(range.upperBound)]))
    }
    let pages = (Self.size + 4095) / 4096
    #expect(try PageCache.resident(directory.image) == (avoidsCache ? 0 : pages))
  }

  @Test func `bytes are right at every place, length and address`() throws {
    let directory = try TemporaryDirectory()
    let image = try image(in: directory)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.size + 8192, alignment: 4096)
    defer { memory.deallocate() }
    let places = [0, 1, 511, 512, 4095, 4096, 4097, 1 << 20, (1 << 20) + 512, Self.size - 701, Self.size - 1]
    let counts = [1, 2, 511, 512, 4096, 5000, 65536, 2 << 20, (3 << 20) + 77, Self.size]
    for place in places {
      for count in counts {
        for address in [0, 1, 512] {
          let count = min(count, Self.size - place)
          let buffer = UnsafeMutableRawBufferPointer(rebasing: memory[address..<address + count])
          buffer.initializeMemory(as: UInt8.self, repeating: 0)
          try image.read(into: buffer, at: UInt64(place))
          let isRight = Self.bytes.withUnsafeBytes { memcmp($0.baseAddress! + place, buffer.baseAddress!, count) == 0 }
          #expect(isRight, "\(count) bytes at \(place) to address \(address)")
        }
      }
    }
    #expect(try PageCache.resident(directory.image) == 0)
  }

  @Test func `an image that was cut off fails to be read`() throws {
    let directory = try TemporaryDirectory()
    let image = try image(in: directory)
    #expect(truncate(directory.image.string, 5000) == 0)
    #expect(try image.bytes(0..<5000) == Array(Self.bytes[..<5000]))
    #expect(throws: Errno.ioError) { try image.bytes(0..<8192) }
    #expect(throws: Errno.ioError) { try image.bytes(4096..<5001) }
    #expect(throws: Errno.ioError) { try image.bytes(8192..<12288) }
    #expect(throws: Errno.ioError) { try image.bytes(1 << 20..<2 << 20) }
  }

  @Test func `holes are known as before`() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.makeImage(size: 4 << 20, data: [UInt8](repeating: 7, count: 1 << 20), at: 1 << 20)
    let image = try RawImage(path: path, avoidsCache: true)
    #expect(try image.extent(at: 0) == Extent(isData: false, end: 1 << 20))
    #expect(try image.bytes((1 << 20) - 1..<(1 << 20) + 1) == [0, 7])
  }

  @Test func `a file system without direct reads is read as ever`() throws {
    // /proc has files, but no such reads.
    let file = try File.openReadOnly("/proc/self/status")
    let isDirect = DirectFile(file) != nil
    #expect(!isDirect)
  }
}

/// The page cache of files.
enum PageCache {
  /// Writes a file's pages back and has the kernel forget them.
  static func evict(_ path: FilePath) throws(Errno) {
    let descriptor = open(path.string, O_RDWR | O_CLOEXEC)
    guard descriptor != -1 else { throw .current }
    let file = File(adopting: descriptor)
    fsync(file.descriptor)
    posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_DONTNEED)
  }

  /// How many pages of a file are in memory.
  static func resident(_ path: FilePath) throws(Errno) -> Int {
    let file = try File.openReadOnly(path)
    let size = Int(try file.status().size)
    guard let address = mmap(nil, size, PROT_READ, MAP_SHARED, file.descriptor, 0), address != MAP_FAILED else {
      throw .current
    }
    defer { munmap(address, size) }
    var pages = [UInt8](repeating: 0, count: (size + 4095) / 4096)
    guard mincore(address, size, &pages) == 0 else { throw .current }
    return pages.count { $0 & 1 == 1 }
  }

  static let canBeAvoided: Bool = {
    guard let directory = try? TemporaryDirectory(),
      let path = try? directory.makeImage(size: 65536, data: [UInt8](repeating: 7, count: 65536)),
      let image = try? RawImage(path: path, avoidsCache: true)
    else { return false }
    // In a file system in memory nothing can be evicted.
    return (try? evict(path)) != nil && (try? resident(path)) == 0 && image.avoidsCache
  }()
}
