// One connection to a server, for requests of any number of threads at once.
//
// There is no thread for it. Who makes a request sends it, and then waits: one of those who wait leads, which is to poll
// the socket and to let libnbd take in whatever answers come, each straight into its reader's memory; the others sleep
// until the leader has their answer, or until it has its own and leaves the lead to one of them. So a lone reader is
// served without a change of thread, and many share one connection with all their requests in flight.
//
// Everything here and libnbd's handle belong to `lock`, which is let go only to poll or sleep. Once the connection is
// lost, the handle is not called any more, and so nothing of a reader's memory is touched after it has been told so.

internal import CLinux
internal import CNbd
internal import DiskIO
internal import Glibc
internal import Synchronization
internal import SystemPackage
internal import Threads

/// What became of a request.
enum NbdOutcome: Equatable {
  case done
  /// The server said no.
  case refused(Errno)
  /// There is no connection any more; another one may do.
  case lost
}

/// A connection that takes requests until it is lost.
final class NbdConnection: @unchecked Sendable {
  // SAFETY: all that changes, the handle's state included, is used under `lock` only, but for `load`.
  private let lock = Lock()
  private let library: NbdLibrary
  private let handle: NbdHandle
  /// Wakes the leader out of its poll.
  private let wake: File
  /// Time without a sign of life after which a connection is lost.
  private let silence: Duration
  private var waiting: [NbdRequest] = []
  /// Requests for another time, since each has a condition.
  private var spare: [NbdRequest] = []
  /// What the leader polls for; nil where nobody polls.
  private var polled: Int16?
  private var lastSign = Moment.now
  /// Where the mount ends: the time that requests have.
  private var end: Moment?
  /// Why the connection is lost; nil while it is not.
  private var loss: String?

  /// Requests at this moment.
  let load = Atomic(0)

  init(_ handle: NbdHandle, silence: Duration) throws(NbdProblem) {
    self.handle = handle
    library = handle.library
    self.silence = silence
    let event = clinux_event()
    if event == -1 { throw .other("\(Errno.current)") }
    wake = File(adopting: event)
  }

  deinit {
    // Said, so that the server need not take it for a fault; nobody waits whether it arrives.
    if loss == nil { _ = library.aio_disconnect(handle.pointer, 0) }
  }

  /// Reads into all of `buffer`. Offset and length must be ones that the server takes.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> NbdOutcome {
    guard let start = buffer.baseAddress, buffer.count > 0 else { return .done }
    return perform(reading: offset..<offset + UInt64(buffer.count)) { request in
      library.aio_pread_structured(
        handle.pointer, start, buffer.count, offset, request.chunk, request.completion, 0)
    }
  }

  /// Asks for the runs from a byte on that are data or holes, for at most `count` bytes, which the server may cut off.
  func extents(at offset: UInt64, count: UInt64, into extents: NbdExtentCollector) -> NbdOutcome {
    withExtendedLifetime(extents) {
      perform { library.aio_block_status(handle.pointer, count, offset, extents.callback, $0.completion, 0) }
    }
  }

  /// Why the connection is lost.
  var reasonOfLoss: String { lock.withLock { loss ?? "" } }

  /// Has requests give up at this time.
  func end(by time: Moment) {
    lock.withLock {
      end = time
      for request in waiting { request.condition.signal() }
      wakeLeader()
    }
  }

  // MARK: Requests

  /// Makes a request and waits for its answer.
  ///
  /// - Parameters:
  ///   - range: the bytes that the answer must have, if it has bytes.
  ///   - send: hands the request to libnbd, and returns what it gives.
  private func perform(reading range: Range<UInt64> = 0..<0, _ send: (NbdRequest) -> Int64) -> NbdOutcome {
    load.add(1, ordering: .relaxed)
    defer { load.subtract(1, ordering: .relaxed) }
    lock.take()
    defer { lock.leave() }
    guard loss == nil else { return .lost }
    let request = spare.popLast() ?? NbdRequest()
    request.isAnswered = false
    request.begin = Moment.now
    request.chunks.begin(range)
    let number = send(request)
    // Sending may have found out that the connection is gone.
    if number <= 0 || handle.isOver {
      let failure = library.failure
      if handle.isOver { lose(failure.message) }
      spare.append(request)
      return loss == nil ? .refused(failure.errno) : .lost
    }
    waiting.append(request)
    if let polled, polled & Int16(POLLOUT) == 0, library.aio_get_direction(handle.pointer).writes { wakeLeader() }
    wait(for: request)
    waiting.removeAll { $0 === request }
    // The lead is free. Somebody who sleeps must take it.
    if polled == nil { waiting.first { !$0.isAnswered }?.condition.signal() }
    let outcome = outcome(of: request, number)
    spare.append(request)
    return outcome
  }

  private func outcome(of request: NbdRequest, _ number: Int64) -> NbdOutcome {
    guard request.isAnswered else { return .lost }
    if library.aio_command_completed(handle.pointer, UInt64(number)) == 1 {
      return request.chunks.areComplete ? .done : .refused(.ioError)
    }
    let failure = library.failure
    if handle.isOver { return .lost }
    guard failure.errno.rawValue == ESHUTDOWN else { return .refused(failure.errno) }
    lose("the server is shutting down")
    return .lost
  }

  private func wait(for request: NbdRequest) {
    while !request.isAnswered, loss == nil {
      let deadline = deadline(of: request)
      if deadline <= Moment.now {
        lose("it does not answer")
      } else if polled == nil {
        lead(until: deadline)
      } else {
        request.condition.wait(lock, until: deadline)
      }
    }
  }

  /// A server that is busy with others is not silent; but no request waits for ever.
  private func deadline(of request: NbdRequest) -> Moment {
    let usual = min(max(request.begin, lastSign) + silence, request.begin + silence * 8)
    return min(usual, end ?? usual)
  }

  // MARK: The lead

  /// Polls once and has libnbd do what can be done.
  private func lead(until deadline: Moment) {
    let direction = library.aio_get_direction(handle.pointer)
    var waits = (
      pollfd(fd: library.aio_get_fd(handle.pointer), events: direction.events, revents: 0),
      pollfd(fd: wake.descriptor, events: Int16(POLLIN), revents: 0)
    )
    polled = direction.events
    lock.leave()
    let count = withUnsafeMutablePointer(to: &waits) {
      // SAFETY: a tuple of two of a kind has them one behind the other.
      $0.withMemoryRebound(to: pollfd.self, capacity: 2) { poll($0, 2, deadline.milliseconds) }
    }
    lock.take()
    polled = nil
    guard count > 0, loss == nil else { return }
    if waits.1.revents != 0 {
      var counter: UInt64 = 0
      _ = Glibc.read(wake.descriptor, &counter, MemoryLayout.size(ofValue: counter))
    }
    notify(waits.0.revents, direction)
  }

  private func notify(_ events: Int16, _ direction: CUnsignedInt) {
    guard events != 0 else { return }
    let result: CInt
    if events & Int16(POLLOUT) != 0, events & Int16(POLLIN | POLLHUP) == 0 {
      result = library.aio_notify_write(handle.pointer)
    } else {
      lastSign = Moment.now
      result = library.aio_notify_read(handle.pointer)
    }
    if result == -1 { return lose(library.failure.message) }
    if handle.isOver { lose("the server closed the connection") }
  }

  private func wakeLeader() {
    var one: UInt64 = 1
    _ = Glibc.write(wake.descriptor, &one, MemoryLayout.size(ofValue: one))
  }

  private func lose(_ reason: String) {
    guard loss == nil else { return }
    loss = reason
    for request in waiting { request.condition.signal() }
    wakeLeader()
  }
}

/// A request in flight and the thread that waits for it.
private final class NbdRequest {
  let condition = Condition()
  var isAnswered = false
  var begin = Moment.now
  var chunks = NbdChunks()

  /// For libnbd, which calls it for each part of an answer, as it does ``completion``.
  var chunk: nbd_chunk_callback {
    nbd_chunk_callback(
      callback: { request, _, count, offset, kind, _ in
        guard let request, kind != LIBNBD_READ_ERROR else { return 0 }
        let asked = Unmanaged<NbdRequest>.fromOpaque(request).takeUnretainedValue()
        // Minus one makes the request fail.
        return asked.chunks.take(offset, count: count) ? 0 : -1
      }, user_data: Unmanaged.passUnretained(self).toOpaque(), free: nil)
  }

  /// For libnbd, which calls it on whatever thread leads, under the connection's lock. The request outlives the call: its
  /// owner waits for it, or has the handle not called any more.
  var completion: nbd_completion_callback {
    nbd_completion_callback(
      callback: { request, _ in
        guard let request else { return 0 }
        let answered = Unmanaged<NbdRequest>.fromOpaque(request).takeUnretainedValue()
        answered.isAnswered = true
        answered.condition.signal()
        // The result is asked for later.
        return 0
      }, user_data: Unmanaged.passUnretained(self).toOpaque(), free: nil)
  }
}
