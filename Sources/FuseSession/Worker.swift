// The threads that serve a session: each takes a request, answers it, and takes the next. Each has its own memory for
// answers, so that serving allocates nothing and shares nothing.
//
// A worker that has answered sleeps in the kernel until the next request. Looking for it for 30 µs before that made one
// reader at most 1.25 times as fast and two readers 0.8 times (Tests/Benchmarks/README.md).

import CFuse
import CLinux
import DiskIO
import Glibc
import Synchronization
import SystemPackage
import Threads

/// One serving thread.
struct Worker {
  let thread: pthread_t

  /// Interrupts a worker that waits for a request, so that it looks at `isStopping`.
  static let interrupt = SIGUSR2

  /// Starts a worker.
  ///
  /// - Throws: the error of `pthread_create` (`.resourceTemporarilyUnavailable`) or of its memory.
  init(serving session: OpaquePointer, state: SessionState) throws(Errno) {
    let context = try Context(session: session, state: state)
    state.workerCount.add(1, ordering: .relaxed)
    do {
      thread = try startThread { context.serve() }
    } catch {
      state.workerCount.subtract(1, ordering: .relaxed)
      throw error
    }
  }

  /// Makes interrupts return from system calls instead of ending the process.
  static func installInterruptHandler() {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in }
    sigaction(interrupt, &action, nil)
  }

  /// What the calling worker has. Only within a callback of libfuse.
  @inline(__always)
  static var belongings: WorkerBelongings {
    guard let pointer = clinux_thread_pointer() else { preconditionFailure("not a worker thread") }
    // SAFETY: serve() set the pointer to a value that outlives all callbacks on this thread.
    return pointer.assumingMemoryBound(to: WorkerBelongings.self).pointee
  }
}

/// What callbacks find of their worker.
struct WorkerBelongings {
  let answer: AnswerBuffer
  let tally: RequestTally
  /// The worker is inside the file system's gate.
  let lane: Unmanaged<DrainGate.Lane>
}

/// What a worker thread owns.
private final class Context: @unchecked Sendable {
  // SAFETY: handed to one thread when it starts, and used by no other afterwards. libfuse's session may be used from
  // any thread for receiving and processing.
  private let session: OpaquePointer
  private let state: SessionState
  private let bytes: LazyMemory
  private let vectors: LazyMemory
  private let lane: DrainGate.Lane
  private let tally = RequestTally()

  private static let vectorCount = 1024

  init(session: OpaquePointer, state: SessionState) throws(Errno) {
    let bytes = try LazyMemory(capacity: AnswerBuffer.size)
    try bytes.makeAccessible(AnswerBuffer.size)
    let vectorBytes = Self.vectorCount * MemoryLayout<iovec>.stride
    let vectors = try LazyMemory(capacity: vectorBytes)
    try vectors.makeAccessible(vectorBytes)
    self.session = session
    self.state = state
    lane = state.fileSystem.gate.makeLane()
    self.bytes = bytes
    self.vectors = vectors
    state.requestCounts.add(tally)
  }

  func serve() {
    let answer = AnswerBuffer(
      bytes: UnsafeMutableRawBufferPointer(start: bytes.address, count: AnswerBuffer.size),
      vectors: UnsafeMutableBufferPointer(
        start: vectors.address.bindMemory(to: iovec.self, capacity: Self.vectorCount), count: Self.vectorCount))
    var belongings = WorkerBelongings(answer: answer, tally: tally, lane: Unmanaged.passUnretained(lane))
    var interrupt = sigset_t()
    sigemptyset(&interrupt)
    sigaddset(&interrupt, Worker.interrupt)
    pthread_sigmask(SIG_UNBLOCK, &interrupt, nil)
    withUnsafeMutablePointer(to: &belongings) {
      clinux_set_thread_pointer($0)
      serveRequests()
      clinux_set_thread_pointer(nil)
    }
    // The last one out tells.
    if state.workerCount.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { state.wake() }
  }

  private func serveRequests() {
    var buffer = fuse_buf()
    defer { free(buffer.mem) }
    var isKnown = false
    var idleTimes = 0
    while !state.isStopping.load(ordering: .acquiring), fuse_session_exited(session) == 0 {
      let result = fuse_session_receive_buf(session, &buffer)
      switch result {
      case 1...: break
      // An interrupt is how a stop gets here, and that nobody uses the mount.
      case -EINTR, -EAGAIN:
        let times = state.idleTimes.load(ordering: .acquiring)
        if times != idleTimes {
          idleTimes = times
          bytes.discard(0..<AnswerBuffer.size)
          state.requestMemory.giveBack(buffer) { state.writers.load(ordering: .acquiring) > 0 }
        }
        continue
      // 0 is the end of the mount; anything else is a device that cannot be read any more.
      default:
        // Others may go on: this one may have had no memory.
        if result == 0, !state.isOver.exchange(true, ordering: .acquiringAndReleasing) {
          state.wake()
        }
        return
      }
      if !isKnown {
        state.requestMemory.add(buffer)
        isKnown = true
      }
      if state.wakesOnRequest.load(ordering: .relaxed), state.wakesOnRequest.exchange(false, ordering: .relaxed) {
        state.wake()
      }
      lane.enter()
      fuse_session_process_buf(session, &buffer)
      lane.leave()
    }
  }
}
