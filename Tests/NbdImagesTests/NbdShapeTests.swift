// NBD without a server: URIs and names, the shape of requests, and what is kept of answers about holes.

import CopyOnWrite
import SystemPackage
import Testing

@testable import NbdImages

@Suite struct NbdURITests {
  @Test(arguments: [
    "nbd://host/export", "nbds://user@host:1/e", "nbd+unix:///e?socket=/s", "nbds+unix:///?socket=/s", "nbd+vsock:///",
    "nbd://",
  ])
  func isURI(_ text: String) {
    #expect(NbdURI(text, in: "/here")?.text == text)
  }

  @Test(arguments: ["nbd:host:10809", "./nbd://host", "http://host/", "xnbd://host", "disk.img", "", "://"])
  func isNone(_ text: String) {
    #expect(NbdURI(text) == nil)
  }

  @Test(arguments: [
    ("nbd+unix:///e?socket=s", "nbd+unix:///e?socket=/a%20b/%C3%BC/s"),
    ("nbd+unix:///?socket=../s&tls-psk-file=k", "nbd+unix:///?socket=/a%20b/%C3%BC/../s&tls-psk-file=/a%20b/%C3%BC/k"),
    ("nbds://h/e?tls-certificates=pki", "nbds://h/e?tls-certificates=/a%20b/%C3%BC/pki"),
    ("nbd+unix:///e?socket=/s&other=o", "nbd+unix:///e?socket=/s&other=o"),
    ("nbd+unix:///e?socket=%2fs", "nbd+unix:///e?socket=%2fs"),
    ("nbd+unix:///e?socket=", "nbd+unix:///e?socket="),
  ])
  func pathsBecomeAbsolute(_ text: String, _ absolute: String) {
    #expect(NbdURI(text, in: "/a b/ü")?.text == absolute)
  }

  @Test func pathOfTheSocket() {
    #expect(NbdURI("nbd+unix:///e?tls-psk-file=/k&socket=/a%20b/%C3%BC%", in: "/")?.socket == "/a b/ü%")
    #expect(NbdURI("nbd://h/e?x=/s")?.socket == nil)
    #expect(NbdURI("nbd://h/e")?.socket == nil)
  }

  @Test(arguments: [
    ("disk.img", "disk.img"), ("", "disk.img"), ("/", "disk.img"), ("a/b/c.img", "c.img"), ("a/", "a"),
    ("a/\u{301}b", "\u{301}b"),
    ("..", "disk.img"), ("a/.", "disk.img"), ("ü x", "ü x"), (String(repeating: "n", count: 256), "disk.img"),
  ])
  func nameOfTheFile(_ export: String, _ name: String) {
    #expect(NbdURI.fileName(ofExport: export) == name)
  }
}

@Suite struct NbdReadLimitsTests {
  @Test func whatServersSay() {
    #expect(NbdReadLimits(minimum: 0, maximum: 0, size: 1) == NbdReadLimits(minimum: 1, maximum: 32 << 20, size: 1))
    #expect(NbdReadLimits(minimum: 512, maximum: 1000, size: 1).maximum == 512)
    #expect(NbdReadLimits(minimum: 4096, maximum: 1, size: 1).maximum == 4096)
    #expect(NbdReadLimits(minimum: 3, maximum: -1, size: 1) == NbdReadLimits(minimum: 1, maximum: 32 << 20, size: 1))
    #expect(NbdReadLimits(minimum: 1 << 20, maximum: 0xffff_ffff, size: 1).minimum == 1)
  }

  /// For every range of small images: the requests are ones that the server takes, and together have every byte.
  @Test(arguments: [1, 2, 4, 8], [1, 2, 8, 16])
  func requestsCoverEveryRange(minimum: Int, maximum: Int) {
    for size in UInt64(1)...33 {
      let limits = NbdReadLimits(minimum: Int64(minimum), maximum: Int64(maximum), size: size)
      for start in 0..<size {
        for end in start + 1...size { expectCovered(start..<end, limits) }
      }
    }
  }

  private func expectCovered(_ range: Range<UInt64>, _ limits: NbdReadLimits) {
    let step = UInt64(limits.minimum)
    var position = range.lowerBound
    while position < range.upperBound {
      let rest = position..<range.upperBound
      let request = limits.firstRequest(for: rest)
      let isAligned =
        request.lowerBound % step == 0 && (request.upperBound % step == 0 || request.upperBound == limits.size)
      guard isAligned, request.count <= limits.maximum, request.upperBound <= limits.size, request.contains(position),
        rest.clamped(to: request) == request || request.count <= limits.minimum
      else {
        Issue.record("\(request) for \(rest), \(limits)")
        return
      }
      position = min(range.upperBound, request.upperBound)
    }
  }
}

@Suite struct NbdExtentTests {
  @Test func flagsAndLengths() {
    let collector = NbdExtentCollector(from: 10, limit: 100)
    // Data, a hole that may have any bytes, zeros that take space, zeros in a hole, and more than there is.
    collector.take([5, 0, 5, 1, 10, 2, 10, 3, 1000, 0])
    #expect(
      collector.runs == [
        Extent(isData: true, end: 20), Extent(isData: false, end: 40), Extent(isData: true, end: 100),
      ])
  }

  @Test func oddAnswers() {
    let whole = [Extent(isData: true, end: 5)]
    for (answer, runs) in [([], []), ([0, 0, 5, 0], []), ([5, 0, 7], whole)] as [([UInt32], [Extent])] {
      let collector = NbdExtentCollector(from: 0, limit: 100)
      collector.take(answer)
      #expect(collector.runs == runs)
    }
  }

  /// Answers for random parts of an image, in random order and overlapping, against the image.
  @Test func mapAgreesWithTheImage() {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<200 {
      let size = Int.random(in: 1...60, using: &random)
      let image = (0..<size).map { _ in Int.random(in: 0..<4, using: &random) == 0 }
      var map = NbdExtentMap()
      var known = [Bool](repeating: false, count: size)
      for _ in 0..<8 {
        let start = Int.random(in: 0..<size, using: &random)
        let end = Int.random(in: start + 1...size, using: &random)
        let runs = (start..<end).map { Extent(isData: image[$0], end: UInt64($0 + 1)) }
        map.add(runs, from: UInt64(start))
        for place in start..<end { known[place] = true }
        for place in 0..<size {
          let extent = map.extent(at: UInt64(place))
          #expect((extent != nil) == known[place])
          guard let extent else { continue }
          #expect((place..<Int(extent.end)).allSatisfy { known[$0] && image[$0] == extent.isData })
        }
      }
    }
  }

  @Test func mapIsBounded() {
    var map = NbdExtentMap()
    for start in stride(from: UInt64(0), to: 3 * UInt64(NbdExtentMap.capacity), by: 1000) {
      map.add((start..<start + 1000).map { Extent(isData: $0 % 2 == 0, end: $0 + 1) }, from: start)
      #expect(map.count <= NbdExtentMap.capacity)
      #expect(map.extent(at: start + 999) == Extent(isData: false, end: start + 1000))
    }
  }
}
