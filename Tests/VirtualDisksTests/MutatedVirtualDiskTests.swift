// Thousands of damaged headers of virtual disks, the same in each run: whatever the bytes are, the answer is an error or a
// header, and nothing beyond the file is read. A trap ends the test.

import SystemPackage
import TestSupport
import Testing

@testable import VirtualDisks

@Suite struct MutatedVirtualDiskTests {
  private static let edges: [UInt64] = [
    0, 1, 2, 4, 8, 9, 16, 21, 22, 0x7F, 0x80, 0xFF, 511, 512, 0xFFFF, 0x10000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF,
    1 << 32, 1 << 40, 1 << 54, 1 << 55, 1 << 56, 1 << 63 - 1, 1 << 63, .max - 511, .max,
  ]

  private func mutate(_ image: inout HandmadeImage, _ format: VirtualDiskFormat, using random: inout SeededGenerator) {
    for _ in 0..<Int.random(in: 1...3, using: &random) {
      guard let fields = HandmadeImage.fields(format).randomElement(using: &random) else { return }
      let place = UInt64.random(in: fields, using: &random)
      let edge = Self.edges.randomElement(using: &random) ?? 0
      switch Int.random(in: 0..<6, using: &random) {
      case 0: image[place] = UInt8.random(in: 0...255, using: &random)
      case 1: image[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 2: image.put(UInt32(truncatingIfNeeded: edge), at: place / 4 * 4)
      case 3: image.putBig(UInt32(truncatingIfNeeded: edge), at: place / 4 * 4)
      case 4: image.put(edge, at: place / 4 * 4)
      default: image.putBig(edge, at: place / 8 * 8)
      }
    }
    if Int.random(in: 0..<8, using: &random) == 0 { image.size = .random(in: 0...image.size, using: &random) }
  }

  @Test(arguments: VirtualDiskFormat.allCases)
  func `mutated headers are errors or headers`(format: VirtualDiskFormat) {
    var random = SeededGenerator(seed: UInt64(format.rawValue.utf8.reduce(0) { $0 &* 31 &+ UInt($1) }))
    let original = HandmadeImage.disk(format)
    var (read, refused) = (0, 0)
    for round in 0..<1000 {
      var image = original
      mutate(&image, format, using: &random)
      do throws(VirtualDiskFault) {
        let header = try image.header(format)
        #expect(header.size <= UInt64(Int64.max), "round \(round)")
        read += 1
      } catch {
        let message = VirtualDiskError(path: "/image", format: format, problem: .fault(error)).description
        #expect(!message.contains("\n") && message.contains("/image"))
        refused += 1
      }
    }
    // The property says something only where both happen.
    #expect(read > 50 && refused > 50, "\(read) read, \(refused) refused")
  }

  @Test func `bytes that cannot be read are an error`() {
    for format in VirtualDiskFormat.allCases {
      for fields in HandmadeImage.fields(format) {
        var image = HandmadeImage.disk(format)
        image.broken = fields
        if case .unreadable(.ioError) = image.fault(format) { continue }
        // Not everything is looked at.
        #expect(image.fault(format) == nil, "\(format) at \(fields)")
      }
    }
  }
}
