// What libfuse's callbacks reach through their one pointer, and what is agreed with the kernel when a mount begins.
//
// Requests over io_uring (libfuse 3.18) are left out: they made four small readers 1.8 times as fast, cost one client at depth
// 32 an eighth of its reads, and let a seek hang that nobody could kill (Tests/Benchmarks/README.md).

import CFuse
import CLinux
import DiskIO
import Glibc
import Synchronization
import SystemPackage

/// Shared by a session, its workers and the callbacks.
final class SessionState: Sendable {
  let fileSystem: FileSystem
  /// Whether the kernel refuses writes, so that it has none to hold back.
  let isReadOnly: Bool
  /// Set once the kernel and we have agreed: from then on the mount answers.
  let isReady = Atomic(false)
  /// Set to make workers leave after the request at hand.
  let isStopping = Atomic(false)
  /// Set by the first worker that finds the mount gone. Others may still be serving.
  let isOver = Atomic(false)
  /// The workers' memory for requests.
  let requestMemory = RequestMemory()
  /// Whether the next request wakes whoever polls ``wakeUp``, who sees to the watch while there is work. Without a request
  /// nobody is woken, so an idle mount uses no time at all.
  let wakesOnRequest = Atomic(false)
  /// How often the file is open for writing.
  let writers = Atomic(0)
  /// What was asked so far.
  let requestCounts = RequestCounts()
  /// What the kernel was told of writes that it had held back and that failed.
  let heldBack = HeldBackErrors()
  /// How often the workers were asked to give back memory.
  let idleTimes = Atomic(0)
  /// Workers that serve.
  let workerCount = Atomic(0)
  /// Wakes whoever waits for readiness, for the next request or for the end: a counter to poll for.
  let wakeUp: File

  init(fileSystem: FileSystem, isReadOnly: Bool) throws(Errno) {
    self.fileSystem = fileSystem
    self.isReadOnly = isReadOnly
    let event = clinux_event()
    guard event != -1 else { throw .current }
    wakeUp = File(adopting: event)
  }

  /// The state behind what libfuse hands to callbacks: the place that has it from the moment that serving begins.
  @inline(__always)
  static func from(_ userdata: UnsafeMutableRawPointer?) -> Unmanaged<SessionState> {
    guard let state = userdata?.assumingMemoryBound(to: UnsafeRawPointer?.self).pointee else {
      preconditionFailure("a request before there is anybody to serve it")
    }
    return Unmanaged.fromOpaque(state)
  }

  func wake() {
    var one: UInt64 = 1
    _ = write(wakeUp.descriptor, &one, MemoryLayout.size(ofValue: one))
  }

  /// Chooses among what the kernel offers.
  ///
  /// The writeback cache turns small buffered writes into large ones and lets the kernel own size and mtime, which is
  /// right because nobody else changes the file. A mount that nobody can write to goes without: the kernel would trust
  /// what it makes up for a file that is a mount's root, and would not let itself be corrected. Splicing is left out:
  /// requests then pass through a pipe, and a write's bytes have to end in the overlay's mapping anyway. So are parallel
  /// direct writes (FOPEN_PARALLEL_DIRECT_WRITES): the kernel grants them only with FOPEN_DIRECT_IO, and that takes the
  /// page cache and shared mappings from everybody.
  func negotiate(_ connection: inout fuse_conn_info) {
    let writeback = isReadOnly ? 0 : cfuse_writeback_cache
    cfuse_want(&connection, cfuse_async_read | cfuse_async_dio | writeback | cfuse_parallel_dirops)
    connection.max_write = UInt32(AnswerBuffer.size)
    connection.max_readahead = UInt32(AnswerBuffer.size)
    connection.max_background = 128
    connection.congestion_threshold = 96
    connection.time_gran = 1
    isReady.store(true, ordering: .releasing)
    wake()
  }
}
