// Raw images: every byte, every hole, and what cannot be one.

import CLinux
import CopyOnWrite
import DiskIO
import Glibc
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import Images

@Suite struct RawImageTests {
  private static let mebibyte: UInt64 = 1 << 20

  @Test(arguments: [0, 1, 511, 4095, 4096, 130_000, (4 << 30) + 1, 15 << 40] as [UInt64])
  func `an image has its file's size, to the byte`(size: UInt64) throws {
    let directory = try TemporaryDirectory()
    let image = try RawImage(path: try directory.makeImage(size: size))
    #expect(image.size == size)
    #expect(image.status.size == size)
    if size > 0 {
      #expect(try image.bytes(size - 1..<size) == [0])
      #expect(throws: Errno.ioError) { try image.bytes(size - 1..<size + 1) }
      #expect(try image.extent(at: size - 1).end == size)
    }
  }

  @Test func `bytes are the file's`() throws {
    let directory = try TemporaryDirectory()
    let image = try RawImage(path: try directory.makeImage(size: 5000, data: [1, 2, 3], at: 4095))
    #expect(try image.bytes(4094..<4099) == [0, 1, 2, 3, 0])
    #expect(try image.bytes(100..<100) == [])
  }

  @Test func `a link leads to its image, which is named as the user did`() throws {
    let directory = try TemporaryDirectory()
    _ = try directory.makeImage(size: 10, data: [7])
    let link = directory.path.appending("link")
    #expect(symlink("image", link.string) == 0)
    let image = try RawImage(path: link)
    #expect(try image.bytes(0..<1) == [7])
    #expect(image.name == "link")
    #expect(try image.source == directory.image.resolved().string)
  }

  // MARK: Holes

  @Test func `holes and data are told apart, to the end`() throws {
    let directory = try TemporaryDirectory()
    let data = [UInt8](repeating: 7, count: Int(Self.mebibyte))
    let size = 4 * Self.mebibyte + 100
    let image = try RawImage(path: try directory.makeImage(size: size, data: data, at: Self.mebibyte))
    #expect(try image.extent(at: 0) == Extent(isData: false, end: Self.mebibyte))
    #expect(try image.extent(at: Self.mebibyte - 1) == Extent(isData: false, end: Self.mebibyte))
    #expect(try image.extent(at: Self.mebibyte) == Extent(isData: true, end: 2 * Self.mebibyte))
    #expect(try image.extent(at: 2 * Self.mebibyte) == Extent(isData: false, end: size))
    #expect(try image.extent(at: size - 1) == Extent(isData: false, end: size))
    // Never less than there is, and not all of it.
    #expect((Self.mebibyte / 512...(size + 511) / 512 - 1).contains(image.dataSectors))
  }

  @Test func `an image without holes is one extent of data`() throws {
    let directory = try TemporaryDirectory()
    let image = try RawImage(path: try directory.makeImage(size: 5000, data: [UInt8](repeating: 7, count: 5000)))
    for offset in [0, 4999] as [UInt64] { #expect(try image.extent(at: offset) == Extent(isData: true, end: 5000)) }
    #expect(image.dataSectors == 10)
  }

  // MARK: What is no image

  @Sendable private func error(_ path: FilePath) -> ImageError? {
    do throws(ImageError) {
      _ = try RawImage(path: path)
      return nil
    } catch {
      return error
    }
  }

  @Test func `a directory, a device without blocks and a pipe are no images`() throws {
    let directory = try TemporaryDirectory()
    #expect(error(directory.path) == .directory(directory.path))
    #expect(error("/dev/null") == .notAnImage("/dev/null"))
    let pipe = directory.path.appending("pipe")
    #expect(mkfifo(pipe.string, 0o600) == 0)
    #expect(error(pipe) == .notAnImage(pipe))
  }

  @Test func `a missing image is named`() throws {
    let directory = try TemporaryDirectory()
    #expect(error(directory.image) == .unusable(directory.image, .noSuchFileOrDirectory))
    let below = try directory.makeImage(size: 1).appending("below")
    #expect(error(below) == .unusable(below, .notDirectory))
    #expect(symlink("missing", directory.path.appending("link").string) == 0)
    let link = directory.path.appending("link")
    #expect(error(link) == .unusable(link, .noSuchFileOrDirectory))
  }

  @Test func `an image that may not be read is refused`() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.makeImage(size: 10, mode: 0)
    let found = Mutex<ImageError?>(nil)
    try onOwnThread {
      // Root may read everything until it gives that up; what is given up is this thread's alone.
      if clinux_keep_capabilities(0) == 0 { found.withLock { $0 = error(path) } }
    }
    #expect(found.withLock { $0 } == .unusable(path, .permissionDenied))
  }

  @Test func `every error is one line that begins with what it is about`() {
    let errors: [ImageError] = [
      .directory("/a/b"), .notAnImage("/a/b"), .inUse("/a/b"), .unusable("/a/b", .noSuchFileOrDirectory),
      .unusable("/a/b", .permissionDenied), .unusable("/a/b", .ioError),
    ]
    for error in errors {
      #expect(error.description.contains("/a/b") && !error.description.contains("\n"))
    }
    #expect(Set(errors.map(\.description)).count == errors.count)
  }

  // MARK: An image that changes

  @Test func `an image that was cut off fails to be read, and is never zeros instead`() throws {
    let directory = try TemporaryDirectory()
    let image = try RawImage(path: try directory.makeImage(size: 8192, data: [UInt8](repeating: 7, count: 8192)))
    #expect(truncate(directory.image.string, 5000) == 0)
    #expect(try image.bytes(0..<5000) == [UInt8](repeating: 7, count: 5000))
    #expect(throws: Errno.ioError) { try image.bytes(4096..<8192) }
    #expect(throws: Errno.ioError) { try image.bytes(6000..<6001) }
    #expect(image.size == 8192)
    #expect(image.change() == "its size was 8192 bytes and is 5000")
  }

  /// As long as nobody asked for the cut bytes, they must not become zeros by being called a hole.
  @Test func `a sparse image that was cut off has no hole where it had data`() throws {
    let directory = try TemporaryDirectory()
    let data = [UInt8](repeating: 7, count: 65536)
    let image = try RawImage(path: try directory.makeImage(size: 4 << 20, data: data, at: 2 << 20))
    #expect(truncate(directory.image.string, 1 << 20) == 0)
    let extent = try? image.extent(at: 2 << 20)
    #expect(extent == nil || extent?.isData == true)
  }

  @Test func `a change of the image is noticed, reading it is none`() throws {
    let directory = try TemporaryDirectory()
    let image = try RawImage(path: try directory.makeImage(size: 10, data: [1]))
    _ = try image.bytes(0..<10)
    #expect(image.change() == nil)
    #expect(chmod(directory.image.string, 0o644) == 0)
    #expect(image.change() == "its metadata was changed")
    _ = try directory.makeImage(size: 10, data: [2])
    #expect(image.change() == "it was written to")
  }
}
