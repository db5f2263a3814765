// Base images, and the content they are filled with: bytes that follow from their place, so that any part of an image
// can be checked without a second copy of it.

import Glibc
import Testing

/// Content that follows from the offset. Never zero, so that zeros always mean a hole.
struct Pattern: Sendable {
  var seed: UInt64 = 1

  func bytes(_ count: Int, at offset: Int = 0) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 8)
    var word = offset / 8
    while bytes.count < count + offset % 8 {
      var value = (UInt64(truncatingIfNeeded: word) &+ seed) &* 0x9E37_79B9_7F4A_7C15
      value = (value ^ (value >> 29)) &* 0xBF58_476D_1CE4_E5B9 | 0x0101_0101_0101_0101
      withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
      word += 1
    }
    return Array(bytes[(offset % 8)..<(offset % 8 + count)])
  }
}

func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }

/// A file to put an overlay over.
struct Image: Sendable {
  let path: String

  static let content = Pattern(seed: 7)

  /// Creates an image that holds the pattern in the given ranges and holes elsewhere; all pattern if none is given.
  init(_ path: String, size: Int, data: [Range<Int>]? = nil, mode: mode_t = 0o444) throws {
    self.path = path
    let file = try TestFile(path, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
    try file.resize(size)
    for range in data ?? [0..<size] {
      for start in stride(from: range.lowerBound, to: range.upperBound, by: 1 << 20) {
        try file.write(Self.content.bytes(min(1 << 20, range.upperBound - start), at: start), at: start)
      }
    }
    fchmod(file.descriptor, mode)
    // A time of its own: an accidental change cannot hide in the same second.
    var times = [timespec(tv_sec: 1_000_000_000, tv_nsec: 1), timespec(tv_sec: 1_111_111_111, tv_nsec: 222_222_222)]
    futimens(file.descriptor, &times)
  }

  init(existing path: String) { self.path = path }
}

/// What must not change about a base.
struct Fingerprint: Equatable, Sendable {
  var size: Int
  var inode: UInt64
  var mode: UInt32
  var modified: [Int]
  var checksum: String?

  /// Largest file whose content is looked at.
  private static let limit = 256 << 20

  init(of path: String) async throws {
    let status = try status(Host.resolved(path))
    size = Int(status.st_size)
    inode = UInt64(status.st_ino)
    mode = status.st_mode
    modified = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec]
    guard status.st_mode & S_IFMT == S_IFREG, size <= Self.limit else { return }
    // From standard input: the name may hold characters that sha256sum would quote.
    checksum = try await shell(#"sha256sum < "$1""#, path)
  }
}
