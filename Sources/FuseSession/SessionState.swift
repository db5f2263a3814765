// What libfuse's callbacks reach through their one pointer, and what is agreed with the kernel when a mount begins.
//
// Measured, and left: requests over io_uring (libfuse 3.18, Linux 6.14). libfuse then serves with threads of its own, one
// bound to each processor, and a request goes to the thread of the processor that it comes from. With two processors and
// queues of 8 or 32 entries, four direct 4 KiB readers at once were 1.8 times as fast, and two at depth 16 twice; but one
// client at depth 32 lost an eighth of its reads, a sixth of a mix and over a quarter of its writes, and 1 MiB reads at depth
// 8 lost half. One client at depth 1, and buffered writes, showed nothing beyond the noise. Queues of 1 entry lost more.
//
// It would cost more than speed. A worker that waits for a write-back holds up its processor's queue, and with it that very
// write-back: a seek after a write hung. The child that asks for the write-back inherits the rings, and these hold the
// device: when the server had ended, the child and the seek hung on, and could not be killed. Replies are copied out of the
// overlay's mapping in this process, where an I/O error is SIGBUS and not EIO to the reader. Each entry of each queue takes
// 1 MiB of memory from the beginning. And libfuse ends those threads in its own loops only.

import CFuse
import Glibc
import Synchronization

/// Shared by a session, its workers and the callbacks.
final class SessionState: Sendable {
  let fileSystem: FileSystem
  /// Set once the kernel and we have agreed: from then on the mount answers.
  let isReady = Atomic(false)
  /// Set to make workers leave after the request at hand.
  let isStopping = Atomic(false)
  /// Set by the first worker that finds the mount gone. Others may still be serving.
  let isOver = Atomic(false)
  /// Set where a worker left because the device failed, and not because the mount is gone.
  let hasFailed = Atomic(false)
  /// The workers' memory for requests.
  let requestMemory = RequestMemory()
  /// Whether the watcher wants to hear of the next request. So it looks round while there is work, and an idle mount
  /// uses no time at all.
  let watcherRests = Atomic(false)
  /// How often the file is open for writing.
  let writers = Atomic(0)
  /// Processes that wrote back and may be about to end.
  private let children = Mutex<[pid_t]>([])
  /// Workers that serve.
  let workerCount = Atomic(0)
  /// The thread that waits for readiness and for the end.
  let watcher: pthread_t

  /// Wakes the watcher. It is blocked there, so that only a wait takes it.
  static let wakeUp = SIGUSR2

  init(fileSystem: FileSystem, watcher: pthread_t) {
    self.fileSystem = fileSystem
    self.watcher = watcher
  }

  static func from(_ userdata: UnsafeMutableRawPointer?) -> Unmanaged<SessionState> {
    guard let userdata else { preconditionFailure("libfuse lost the session's state") }
    return Unmanaged.fromOpaque(userdata)
  }

  func add(child: pid_t) { children.withLock { $0.append(child) } }

  /// Takes the exit status of those that have ended. One cannot be waited for before the request that it was for is
  /// answered: its end closes the file, which the request keeps locked.
  func reapChildren() {
    children.withLock { $0.removeAll { waitpid($0, nil, WNOHANG) != 0 } }
  }

  func wakeWatcher() {
    pthread_kill(watcher, Self.wakeUp)
  }

  /// Chooses among what the kernel offers.
  ///
  /// The writeback cache turns small buffered writes into large ones and lets the kernel own size and mtime, which is
  /// right because nobody else changes the file. Splicing is left out: requests then pass through a pipe, and a write's
  /// bytes have to end in the overlay's mapping anyway. So are parallel direct writes (FOPEN_PARALLEL_DIRECT_WRITES): the
  /// kernel grants them only with FOPEN_DIRECT_IO, and that takes the page cache and shared mappings from everybody.
  func negotiate(_ connection: inout fuse_conn_info) {
    cfuse_want(
      &connection, cfuse_async_read | cfuse_async_dio | cfuse_writeback_cache | cfuse_parallel_dirops)
    connection.max_write = UInt32(AnswerBuffer.size)
    connection.max_readahead = UInt32(AnswerBuffer.size)
    connection.max_background = 128
    connection.congestion_threshold = 96
    connection.time_gran = 1
    isReady.store(true, ordering: .releasing)
    wakeWatcher()
  }
}
