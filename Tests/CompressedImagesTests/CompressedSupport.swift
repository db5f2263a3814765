// What the tests of compressed images share: files made by the formats' own tools, content to compare with, and damage.

import CopyOnWrite
import DiskIO
import Glibc
import Images
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import CompressedImages

extension TemporaryDirectory {
  /// Writes a file anew.
  @discardableResult
  func write(_ bytes: some Sequence<UInt8>, to name: String) throws(Errno) -> FilePath {
    try makeFile(name, data: Array(bytes))
  }

  func bytes(of name: String) throws -> [UInt8] {
    let file = try RawImage(path: file(name))
    return try file.bytes(0..<file.size)
  }

  /// Runs a shell script in the directory.
  func run(_ script: String) throws {
    try Tool.run("cd '\(path)'; \(script)")
  }

  /// Opens a file in the format that it shows or that is given.
  func open(
    _ name: String, as format: ImageFormat? = nil, _ options: CompressionOptions = CompressionOptions()
  ) throws -> CompressedImage {
    try #require(try openAny(name, as: format, options) as? CompressedImage)
  }

  func openAny(
    _ name: String, as format: ImageFormat? = nil, _ options: CompressionOptions = CompressionOptions()
  ) throws -> any DescribedImage {
    let file = try RawImage(path: file(name))
    return try (format ?? ImageFormat.detect(in: file)).open(file, options: options)
  }

  /// Why a file cannot be opened; nil where it can.
  func problem(
    _ name: String, as format: ImageFormat? = nil, _ options: CompressionOptions = CompressionOptions()
  ) throws -> CompressedImageError.Problem? {
    do {
      _ = try open(name, as: format, options)
      return nil
    } catch let error as CompressedImageError {
      #expect(error.description.contains(file(name).string) && !error.description.contains("\n"))
      return error.problem
    }
  }
}

extension CompressionOptions {
  init(
    maxBlock: UInt64 = 512 << 20, maxDepth: Int = 8, isForced: Bool = false,
    report: @escaping @Sendable (String) -> Void = { _ in }
  ) {
    self.init()
    self.maxBlock = maxBlock
    self.maxDepth = maxDepth
    self.isForced = isForced
    self.report = report
  }
}

/// Bytes that compress to about half, with a stretch of zeros and a stretch that does not compress at all.
func content(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var random = SeededGenerator(seed: seed)
  var words = [UInt64](repeating: 0, count: (count + 7) / 8)
  for index in words.indices {
    switch index >> 12 & 7 {
    case 3: break
    case 5: words[index] = random.next()
    default: words[index] = random.next() & 0x0F0F_0F0F_0F0F_0F0F
    }
  }
  return words.withUnsafeBytes { Array($0[..<count]) }
}

/// Whether bytes are those of others from `start` on. The arrays' own comparison is slow in a debug build.
func isSame(_ found: [UInt8], _ expected: [UInt8], from start: UInt64 = 0) -> Bool {
  guard Int(start) + found.count <= expected.count, start > 0 || found.count == expected.count else { return false }
  return found.withUnsafeBytes { found in
    expected.withUnsafeBytes { expected in
      guard let left = found.baseAddress, let right = expected.baseAddress else { return found.isEmpty }
      return memcmp(left, right + Int(start), found.count) == 0
    }
  }
}

extension Image {
  /// Looks whether the image is these bytes, as a whole and under random reads of several threads.
  func expect(
    _ expected: [UInt8], threads: Int = 4, reads: Int = 60, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    #expect(size == UInt64(expected.count), sourceLocation: sourceLocation)
    guard size == UInt64(expected.count) else { return }
    #expect(isSame(try bytes(0..<size), expected), "all of it", sourceLocation: sourceLocation)
    guard size > 0 else { return }
    let failures = Mutex<[String]>([])
    try concurrently(threads) { thread in
      var random = SeededGenerator(seed: testSeed &+ UInt64(thread))
      for _ in 0..<reads {
        let start = UInt64.random(in: 0..<self.size, using: &random)
        let longest: UInt64 = [1, 512, 4096, 65536, 1 << 20].randomElement(using: &random) ?? 1
        let end = min(self.size, start + UInt64.random(in: 1...longest, using: &random))
        let found = try? self.bytes(start..<end)
        if found.map({ isSame($0, expected, from: start) }) != true {
          failures.withLock { $0.append("\(start)..<\(end)\(found == nil ? " failed" : "")") }
        }
      }
    }
    let all = failures.withLock { $0 }
    #expect(all == [], "seed \(testSeed)", sourceLocation: sourceLocation)
  }
}

/// Changes bytes at random places, cuts bytes out, puts some in, or cuts the end off.
func mutate(_ bytes: [UInt8], using random: inout SeededGenerator) -> [UInt8] {
  var bytes = bytes
  for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
    // The ends have what tells of the rest.
    let near = min(bytes.count, 64)
    let place =
      switch Int.random(in: 0..<4, using: &random) {
      case 0: Int.random(in: 0..<near, using: &random)
      case 1: bytes.count - 1 - Int.random(in: 0..<near, using: &random)
      default: Int.random(in: 0..<bytes.count, using: &random)
      }
    switch Int.random(in: 0..<8, using: &random) {
    case 0: bytes.removeSubrange(place...)
    case 1: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...16, using: &random)))
    case 2:
      let more = (0..<Int.random(in: 1...16, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      bytes.insert(contentsOf: more, at: place)
    case 3: bytes[place] = 0xFF
    case 4: bytes[place] = 0
    default: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    }
  }
  return bytes
}

extension TemporaryDirectory {
  /// What became of mutated files.
  struct Survival {
    var refused = 0
    var opened = 0
    /// Reads that failed.
    var failed = 0
  }

  /// Opens mutations of a file and reads all of those that open. None may trap, and what is read without an error from a
  /// file that still has the right size must be the content, where the format verifies it.
  func survive(
    _ original: [UInt8], of content: [UInt8], as format: ImageFormat, rounds: Int, isVerified: Bool = true,
    mutating change: ([UInt8], inout SeededGenerator) -> [UInt8] = { mutate($0, using: &$1) }
  ) throws -> Survival {
    var random = SeededGenerator(seed: testSeed)
    var survival = Survival()
    for round in 0..<rounds {
      try write(change(original, &random), to: "mutated")
      let image: CompressedImage
      do {
        image = try open("mutated", as: format, CompressionOptions(maxBlock: 1 << 24, isForced: true))
      } catch is CompressedImageError {
        survival.refused += 1
        continue
      }
      survival.opened += 1
      for start in stride(from: 0, to: min(image.size, 1 << 24), by: 10_000) {
        let range = start..<min(image.size, start + 10_000)
        do {
          let found = try image.bytes(range)
          guard isVerified, image.size == UInt64(content.count) else { continue }
          if !isSame(found, Array(content[Int(start)..<Int(range.upperBound)])) {
            Issue.record("round \(round) of seed \(testSeed): other bytes from \(start) on")
          }
        } catch {
          survival.failed += 1
        }
      }
    }
    return survival
  }
}
