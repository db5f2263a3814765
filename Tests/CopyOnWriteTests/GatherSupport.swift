// Reading as the file system does it: vectors first, their bytes later.

import DiskIO
import Glibc
import SystemPackage

@testable import CopyOnWrite

/// The answer to a read, not yet looked at.
struct Gathered: ~Copyable {
  let vectors: [iovec]
  private let scratch: MemoryBuffer

  init(_ disk: CowDisk, _ range: Range<UInt64>) throws(Errno) {
    let scratch = MemoryBuffer(count: range.count, filledWith: 0xDE)
    // No more room than is promised to be enough.
    let room = UnsafeMutableBufferPointer<iovec>.allocate(
      capacity: CowDisk.vectorCount(forBytes: range.count))
    defer { room.deallocate() }
    let filled = try disk.gather(at: range.lowerBound, count: range.count, scratch: scratch.bytes, into: room)
    vectors = Array(room[..<filled])
    self.scratch = scratch
  }

  /// The bytes as they are now.
  ///
  /// - Throws: `.badAddress` where they cannot be touched, as a system call would.
  borrowing func bytes() throws(Errno) -> [UInt8] {
    var result = zeros(vectors.reduce(0) { $0 + $1.iov_len })
    var place = 0
    for vector in vectors {
      let copied = result.withUnsafeMutableBytes { target in
        GuardedCopy.copy(
          UnsafeRawBufferPointer(start: vector.iov_base, count: vector.iov_len),
          to: UnsafeMutableRawBufferPointer(rebasing: target[place...]))
      }
      guard copied else { throw .badAddress }
      place += vector.iov_len
    }
    return result
  }
}

extension CowDisk {
  func gatheredBytes(_ range: Range<UInt64>) throws(Errno) -> [UInt8] {
    let answer = try Gathered(self, range)
    return try answer.bytes()
  }
}
