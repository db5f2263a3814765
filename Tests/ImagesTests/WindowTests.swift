// Windows, exhaustively over small sizes, against a model that has a value for every byte; and a disk over a window, whose
// blocks and extents then begin and end anywhere.

import CopyOnWrite
import DiskIO
import SystemPackage
import TestSupport
import Testing

@testable import Images

@Suite struct WindowTests {
  /// An image in memory, each byte of which is data or in a hole.
  final class Base: Image {
    let bytes: [UInt8]
    let isData: [Bool]
    let source = "/a/disk.img"
    let name: String? = "disk.img"
    let status: FileStatus
    let access = ImageAccess(file: FileAccess(user: 0, group: 0, permissions: 0o600))
    let dataSectors: UInt64
    let scratchBytes: UInt64 = 0
    let isRemote = false
    let isAway = false
    func prepareToEnd() {}

    var size: UInt64 { UInt64(bytes.count) }

    /// Bytes that are data tell their place.
    init(isData: [Bool], dataSectors: UInt64? = nil) throws {
      self.isData = isData
      bytes = isData.enumerated().map { $1 ? UInt8($0 % 251 + 1) : 0 }
      status = try FileStatus(of: "/")
      self.dataSectors = dataSectors ?? UInt64(isData.count + 511) / 512
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) {
      precondition(offset + UInt64(buffer.count) <= size, "bytes beyond the base were asked for")
      buffer.copyBytes(from: bytes[Int(offset)..<Int(offset) + buffer.count])
    }

    func extent(at offset: UInt64) -> Extent {
      precondition(offset < size, "an extent beyond the base was asked for")
      let kind = isData[Int(offset)]
      let end = isData[Int(offset)...].firstIndex { $0 != kind } ?? isData.count
      return Extent(isData: kind, end: UInt64(end))
    }

    func change() -> String? { "it moved" }
  }

  private func bytes(of image: some BaseReader, _ range: Range<Int>) throws -> [UInt8] {
    // What a read leaves out must not compare equal by chance.
    var bytes = [UInt8](repeating: 0xEE, count: range.count)
    try bytes.withUnsafeMutableBytes { try image.read(into: $0, at: UInt64(range.lowerBound)) }
    return bytes
  }

  private func shape(_ offset: Int, _ length: Int?, _ size: Int?) -> WindowShape {
    var shape = WindowShape()
    shape.offset = UInt64(offset)
    shape.length = length.map { UInt64($0) }
    shape.size = size.map { UInt64($0) }
    return shape
  }

  /// Compares everything that a window tells with a list of its bytes.
  private func check(_ window: Window, against base: Base, shows part: Range<Int>) throws {
    let shown = min(part.count, Int(window.size))
    let hole = Int(window.size) - shown
    let expected = base.bytes[part].prefix(shown) + [UInt8](repeating: 0, count: hole)
    let isData = Array(base.isData[part].prefix(shown) + [Bool](repeating: false, count: hole))
    for start in 0...Int(window.size) {
      for end in start...Int(window.size) {
        let found = try bytes(of: window, start..<end)
        if found != Array(expected[start + part.lowerBound..<end + part.lowerBound]) {
          Issue.record("\(start)..<\(end) of \(part) is \(found)")
        }
      }
      guard start < Int(window.size) else { break }
      let end = isData[start...].firstIndex { $0 != isData[start] } ?? isData.count
      let extent = try window.extent(at: UInt64(start))
      if extent != Extent(isData: isData[start], end: UInt64(end)) { Issue.record("at \(start) of \(part): \(extent)") }
    }
  }

  @Test(arguments: 0...5)
  func `every window over every small base shows the right bytes and holes`(baseSize: Int) throws {
    for mask in 0..<(1 << baseSize) {
      let base = try Base(isData: (0..<baseSize).map { mask >> $0 & 1 == 1 })
      for offset in 0...baseSize {
        for length in [nil] + (0...baseSize - offset).map(Optional.some) {
          for size in [nil] + (0...baseSize + 2).map(Optional.some) {
            let window = try Window(over: base, shape(offset, length, size))
            let part = offset..<offset + (length ?? baseSize - offset)
            #expect(window.size == UInt64(size ?? part.count))
            try check(window, against: base, shows: part)
          }
        }
      }
    }
  }

  @Test func `sizes are set, rounded up and rounded down, in this order`() throws {
    for baseSize in 0...9 as ClosedRange<UInt64> {
      for size in [nil] + (0...12).map(Optional.some) as [UInt64?] {
        for up in [nil] + (1...5).map(Optional.some) as [UInt64?] {
          for down in [nil] + (1...5).map(Optional.some) as [UInt64?] {
            var shape = WindowShape()
            (shape.size, shape.roundUp, shape.roundDown) = (size, up, down)
            var expected = size ?? baseSize
            if let up { while expected % up != 0 { expected += 1 } }
            if let down { while expected % down != 0 { expected -= 1 } }
            let resolved = try shape.resolved(over: baseSize, of: "")
            if resolved.size != expected || resolved.bytes != 0..<baseSize {
              Issue.record("\(shape) of \(baseSize) is \(resolved)")
            }
          }
        }
      }
    }
  }

  @Test func `what a base has not is refused`() throws {
    let base = try Base(isData: [true, true, true])
    func refusal(_ shape: WindowShape) -> WindowError? {
      #expect(throws: WindowError.self) { try Window(over: base, shape) }
    }
    #expect(refusal(shape(4, nil, nil)) == .offset("/a/disk.img", 4, size: 3))
    #expect(refusal(shape(1, 3, nil)) == .length("/a/disk.img", 3, offset: 1, size: 3))
    #expect(refusal(shape(3, 1, nil)) == .length("/a/disk.img", 1, offset: 3, size: 3))
    #expect(refusal(shape(1, Int.max, nil)) == .length("/a/disk.img", UInt64(Int.max), offset: 1, size: 3))
    #expect(refusal(shape(0, nil, Int.max)) == .tooLarge("/a/disk.img"))
    var rounded = WindowShape()
    rounded.roundUp = UInt64(Int.max)
    #expect(refusal(rounded) == .tooLarge("/a/disk.img"))
    rounded.size = .max - 3
    rounded.roundUp = 1 << 62
    #expect(refusal(rounded) == .tooLarge("/a/disk.img"))
    for error in [refusal(shape(4, nil, nil)), refusal(shape(1, 3, nil)), refusal(rounded)] {
      #expect(try #require(error).description.hasPrefix("/a/disk.img"))
    }
  }

  @Test func `steps of zero do nothing`() throws {
    var shape = WindowShape()
    (shape.roundUp, shape.roundDown) = (0, 0)
    #expect(try shape.resolved(over: 7, of: "").size == 7)
  }

  @Test func `a shape that asks for nothing shows all`() throws {
    #expect(WindowShape().isWhole)
    #expect(!shape(1, nil, nil).isWhole && !shape(0, 0, nil).isWhole && !shape(0, nil, 0).isWhole)
  }

  @Test func `the base's properties are the window's`() throws {
    let base = try Base(isData: [true])
    let window = try Window(over: base, shape(0, nil, 5))
    #expect(window.source == "/a/disk.img" && window.name == "disk.img" && window.change() == "it moved")
    #expect(window.status.kind == .directory)
  }

  @Test(arguments: [0, 1, 511, 512, 513, 1100, 2000])
  func `data sectors are never fewer than there are`(offset: Int) throws {
    let isData = (0..<2000).map { (700..<1300).contains($0) }
    for known in [2, 4] as [UInt64] {
      let base = try Base(isData: isData, dataSectors: known)
      for length in [0, 1, 600, 2000 - offset] where offset + length <= 2000 {
        let window = try Window(over: base, shape(offset, length, 10000))
        let data = isData[offset..<offset + length].count { $0 }
        #expect(window.dataSectors * 512 >= data)
        #expect(window.dataSectors <= (length + 511) / 512)
        // Where the base knows of holes, they are not counted.
        if known == 2 { #expect(window.dataSectors <= (data + 511) / 512) }
      }
    }
  }

  /// A base of any size that is a hole but for its last byte.
  final class LargeBase: Image {
    let size: UInt64
    let source = "large"
    let name: String? = nil
    let status: FileStatus
    let access = ImageAccess(file: FileAccess(user: 0, group: 0, permissions: 0o600))
    var dataSectors: UInt64 { (size + 511) / 512 }
    let scratchBytes: UInt64 = 0
    let isRemote = false
    let isAway = false
    func prepareToEnd() {}

    init(size: UInt64) throws {
      self.size = size
      status = try FileStatus(of: "/")
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) {
      buffer.initializeMemory(as: UInt8.self, repeating: 0)
      if offset + UInt64(buffer.count) == size { buffer[buffer.count - 1] = 77 }
    }

    func extent(at offset: UInt64) -> Extent {
      offset < size - 1 ? Extent(isData: false, end: size - 1) : Extent(isData: true, end: size)
    }

    func change() -> String? { nil }
  }

  @Test(arguments: [4 << 30 - 1, 4 << 30, 4 << 30 + 1, 15 << 40, UInt64(Int64.max) - 2 << 20] as [UInt64])
  func `large windows`(size: UInt64) throws {
    let base = try LargeBase(size: size)
    var shape = WindowShape()
    shape.offset = size - 3
    shape.size = min(size + 5, ImageSize.largest)
    let window = try Window(over: base, shape)
    #expect(try bytes(of: window, 0..<5) == [0, 0, 77, 0, 0])
    #expect(try window.extent(at: 1) == Extent(isData: false, end: 2))
    #expect(try window.extent(at: 2) == Extent(isData: true, end: 3))
    #expect(try window.extent(at: 3) == Extent(isData: false, end: window.size))

    shape = WindowShape()
    shape.offset = 1
    let rest = try Window(over: base, shape)
    #expect(try rest.extent(at: 0) == Extent(isData: false, end: size - 2))
    #expect(try rest.extent(at: size - 2) == Extent(isData: true, end: size - 1))
  }

  /// Windows whose ends and holes are nowhere near the ends of blocks.
  @Test(arguments: [
    (1, 40_000, 50_001), (4097, 30_000, 29_999), (511, 0, 20_000), (8192, 12_288, 12_288), (5000, 1, 8193),
  ])
  func `a disk over a window is what its model is`(offset: Int, length: Int, size: Int) throws {
    var random = SeededGenerator(seed: UInt64(size))
    let base = try Base(isData: (0..<60_000).map { $0 / 3000 % 3 != 1 })
    let window = try Window(over: base, shape(offset, length, size))
    let geometry = try #require(Geometry(blockSize: 4096))
    let disk = try CowDisk(base: window, geometry: geometry, scratch: try File.scratchInMemory())
    var model = Array((base.bytes[offset..<offset + length] + [UInt8](repeating: 0, count: size)).prefix(size))
    for step in 0..<300 {
      let start = Int.random(in: 0..<size, using: &random)
      let range = start..<Int.random(in: start...min(size, start + 9000), using: &random)
      if step % 3 == 0 {
        try disk.zero(UInt64(range.lowerBound)..<UInt64(range.upperBound))
        model.replaceSubrange(range, with: repeatElement(0, count: range.count))
      } else if step % 3 == 1 {
        let new = [UInt8](repeating: UInt8(step % 255 + 1), count: min(range.count, 700))
        try new.withUnsafeBytes { try disk.write($0, at: UInt64(start)) }
        model.replaceSubrange(start..<start + new.count, with: new)
      }
      var found = [UInt8](repeating: 0xEE, count: range.count)
      try found.withUnsafeMutableBytes { try disk.read(into: $0, at: UInt64(start)) }
      if found != Array(model[range]) { Issue.record("\(range) differs in step \(step)") }
      // What is called a hole reads as zeros.
      let extent = try disk.extent(at: UInt64(start))
      if !extent.isData, model[start..<Int(extent.end)].contains(where: { $0 != 0 }) {
        Issue.record("\(extent) at \(start) is not zeros in step \(step)")
      }
    }
    #expect(disk.size == UInt64(size))
  }
}
