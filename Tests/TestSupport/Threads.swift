// Threads for tests: real ones, because what is tested blocks, and a way to hold one of them in the middle.

import Glibc
import Synchronization
import Threads

/// A counting semaphore.
package final class Semaphore: @unchecked Sendable {
  // SAFETY: the semaphore has a fixed address from init to deinit and synchronises itself.
  private let raw = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

  package init() {
    raw.initialize(to: sem_t())
    sem_init(raw, 0, 0)
  }

  deinit {
    sem_destroy(raw)
    raw.deallocate()
  }

  package func signal() { sem_post(raw) }

  package func wait() {
    while sem_wait(raw) == -1 {}
  }

  /// Waits for a signal, but no longer than that.
  package func wait(milliseconds: Int) -> Bool {
    var end = timespec()
    clock_gettime(CLOCK_REALTIME, &end)
    let nanoseconds = end.tv_nsec + (milliseconds % 1000) * 1_000_000
    end.tv_sec += milliseconds / 1000 + nanoseconds / 1_000_000_000
    end.tv_nsec = nanoseconds % 1_000_000_000
    while sem_timedwait(raw, &end) == -1 {
      if errno == ETIMEDOUT { return false }
    }
    return true
  }
}

/// A thread that runs one closure. What the closure throws comes out of ``join()``.
package final class TestThread: @unchecked Sendable {
  // SAFETY: `failure` is written before the thread ends and read after it was joined; `thread` is set once in init.
  private var thread = pthread_t()
  private var failure: (any Error)?
  private let finished = Semaphore()

  package init(_ body: @escaping @Sendable () throws -> Void) {
    do {
      thread = try startThread { [self] in
        do { try body() } catch { failure = error }
        finished.signal()
      }
    } catch {
      preconditionFailure("no thread: \(error)")
    }
  }

  /// Gives a thread that is to wait the moment in which it would come to its end if it did not. To be called once.
  ///
  /// The moment is long for what a test has it do. On a machine so slow that it is not, a test may miss a broken lock, but
  /// it never fails for being slow.
  package func giveMoment() { _ = finished.wait(milliseconds: 100) }

  /// Whether the thread comes to its end by itself. To be asked once.
  package func finishes() -> Bool { finished.wait(milliseconds: 20_000) }

  /// Waits for the end.
  package func join() throws {
    pthread_join(thread, nil)
    if let failure { throw failure }
  }

  /// Waits for nothing.
  package func detach() { pthread_detach(thread) }
}

/// What a thread found wrong. Threads throw it instead of recording an issue, which would belong to no test.
package struct Violation: Error, CustomStringConvertible {
  package let description: String

  package init(description: String) { self.description = description }
}

/// As `#expect`, in a thread.
package func check(_ isRight: Bool, _ what: @autoclosure () -> String) throws {
  if !isRight { throw Violation(description: what()) }
}

/// Runs a closure on that many threads at once, and throws the first error that one of them threw.
package func concurrently(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) throws {
  let threads = (0..<count).map { index in TestThread { try body(index) } }
  let results = threads.map { thread in Result { try thread.join() } }
  for result in results { try result.get() }
}

/// Runs a closure on a thread of its own, where it may give up rights that the others keep, and waits for its end.
package func onOwnThread(_ body: @escaping @Sendable () throws -> Void) throws { try TestThread(body).join() }

/// Runs a closure on a thread of its own, and waits for nothing.
package func inBackground(_ body: @escaping @Sendable () -> Void) { TestThread(body).detach() }

/// Whether a condition comes to hold within half a minute.
package func comesToHold(_ condition: () throws -> Bool) rethrows -> Bool {
  for _ in 0..<3000 {
    if try condition() { return true }
    usleep(10_000)
  }
  return false
}

/// A value behind a lock of pthreads, which the thread sanitizer knows. Synchronization's it does not.
package final class Guarded<Value: Sendable>: @unchecked Sendable {
  // SAFETY: the value is touched under the lock only.
  private let lock = Lock()
  private var value: Value

  package init(_ value: Value) { self.value = value }

  package func withLock<Result>(_ body: (inout Value) -> Result) -> Result { lock.withLock { body(&value) } }
}

/// What something reported, from any thread.
package final class Reports: Sendable {
  private let lines = Guarded<[String]>([])
  package init() {}
  package var all: [String] { lines.withLock { $0 } }
  package func add(_ line: String) { lines.withLock { $0.append(line) } }
}

/// Holds the first thread that passes after it was armed, until it is released. Others pass.
package final class Hold: Sendable {
  private let isArmed = Atomic(false)
  private let arrived = Semaphore()
  private let proceed = Semaphore()

  package init() {}

  package func arm() { isArmed.store(true, ordering: .sequentiallyConsistent) }

  /// To be called by the code that is to be held.
  package func pass() {
    guard isArmed.exchange(false, ordering: .sequentiallyConsistent) else { return }
    arrived.signal()
    proceed.wait()
  }

  /// Waits until somebody is held, but not for ever.
  package func isHolding() -> Bool { arrived.wait(milliseconds: 10_000) }

  package func release() { proceed.signal() }
}
