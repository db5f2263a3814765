// The memory that workers take requests into, backed before large ones come.
//
// Under a memory limit the kernel may wait for write-back before it gives a new page, and that write-back may be waiting
// for the worker that needs the page. So the memory is backed as soon as somebody opens the file for writing. A mount that
// is only read stays small, and one that nobody has open for writing becomes small again when it is not used.

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

  /// Gives back a worker's memory, whose content nobody needs, unless writes may come. By that worker.
  func giveBack(_ buffer: fuse_buf, unless expectsWrites: () -> Bool) {
    guard let memory = buffer.mem else { return }
    buffers.withLock {
      guard !expectsWrites() else { return }
      $0.areBacked = false
      self.expectsWrites.store(false, ordering: .relaxed)
      clinux_give_back(memory, clinux_allocation_size(memory))
    }
  }

  /// Has the memory backed, before the first write can come, and after it was noted that it can.
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
