// The memory that workers take requests into, backed before large ones come.
//
// Under a memory limit the kernel may wait for write-back before it gives a new page, and that write-back may be waiting
// for the worker that needs the page. So the memory is backed as soon as somebody opens the file for writing. A mount that
// is only read stays small.

import CFuse
import CLinux
import Synchronization

/// The workers' memory for requests. Each worker tells of its own after its first request, when libfuse has allocated it.
final class RequestMemory: Sendable {
  private struct Buffers {
    var areBacked = false
    /// Addresses and sizes in bytes.
    var all: [(address: UInt, size: Int)] = []
  }

  private let buffers = Mutex(Buffers())
  private let expectsWrites = Atomic(false)

  /// Notes a worker's memory.
  func add(_ buffer: fuse_buf) {
    let size = clinux_allocation_size(buffer.mem)
    buffers.withLock {
      $0.all.append((UInt(bitPattern: buffer.mem), size))
      if $0.areBacked { clinux_populate(buffer.mem, size) }
    }
  }

  /// Has the memory backed, before the first write can come.
  func expectWrites() {
    guard !expectsWrites.exchange(true, ordering: .relaxed) else { return }
    buffers.withLock {
      $0.areBacked = true
      for buffer in $0.all {
        guard let address = UnsafeMutableRawPointer(bitPattern: buffer.address) else { continue }
        // SAFETY: nothing is changed by it, not even where a worker that failed has freed its memory since.
        clinux_populate(address, buffer.size)
      }
    }
  }
}
