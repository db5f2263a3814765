// Memory for a moment, of a size that a file tells: not to have it is an error of its own, and no end of the process.

internal import Glibc

/// Bytes that are given back with this value.
struct ScratchMemory: ~Copyable {
  let bytes: UnsafeMutableRawBufferPointer

  /// - Returns: nil where there is not so much memory.
  init?(count: Int) {
    guard let start = malloc(max(1, count)) else { return nil }
    bytes = UnsafeMutableRawBufferPointer(start: start, count: count)
  }

  deinit {
    free(bytes.baseAddress)
  }
}
