// Threads for tests: real ones, because verbs of the engine block, and a way to hold one of them in the middle.

import Glibc
import Synchronization

/// A counting semaphore.
final class Semaphore: @unchecked Sendable {
  // SAFETY: the semaphore has a fixed address from init to deinit and synchronises itself.
  private let raw = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

  init() {
    raw.initialize(to: sem_t())
    sem_init(raw, 0, 0)
  }

  deinit {
    sem_destroy(raw)
    raw.deallocate()
  }

  func signal() { sem_post(raw) }

  func wait() {
    while sem_wait(raw) == -1 {}
  }

  /// Waits for a signal, but no longer than that.
  func wait(milliseconds: Int) -> Bool {
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
final class TestThread: @unchecked Sendable {
  // SAFETY: `failure` is written before the thread ends and read after it was joined; `thread` is set once in init.
  private var thread = pthread_t()
  private var failure: (any Error)?
  private let body: @Sendable () throws -> Void
  private let finished = Semaphore()

  init(_ body: @escaping @Sendable () throws -> Void) {
    self.body = body
    let context = Unmanaged.passRetained(self)
    let result = pthread_create(
      &thread, nil,
      { context in
        guard let context else { return nil }
        let thread = Unmanaged<TestThread>.fromOpaque(context).takeRetainedValue()
        thread.run()
        return nil
      }, context.toOpaque())
    precondition(result == 0, "no thread")
  }

  private func run() {
    do {
      try body()
    } catch {
      failure = error
    }
    finished.signal()
  }

  /// Gives a thread that is to wait the moment in which it would come to its end if it did not. To be called once.
  ///
  /// The moment is long for what a verb has to do. On a machine so slow that it is not, a test may miss a broken lock, but
  /// it never fails for being slow.
  func giveMoment() { _ = finished.wait(milliseconds: 100) }

  /// Whether the thread comes to its end by itself. To be asked once.
  func finishes() -> Bool { finished.wait(milliseconds: 20_000) }

  /// Waits for the end.
  func join() throws {
    pthread_join(thread, nil)
    if let failure { throw failure }
  }
}

/// What a thread found wrong. Threads throw it instead of recording an issue, which would belong to no test.
struct Violation: Error, CustomStringConvertible {
  let description: String
}

/// As `#expect`, in a thread.
func check(_ isRight: Bool, _ what: @autoclosure () -> String) throws {
  if !isRight { throw Violation(description: what()) }
}

/// Runs a closure on that many threads at once, and throws the first error that one of them threw.
func concurrently(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) throws {
  let threads = (0..<count).map { index in TestThread { try body(index) } }
  let results = threads.map { thread in Result { try thread.join() } }
  for result in results { try result.get() }
}

/// Holds the first thread that passes after it was armed, until it is released. Others pass.
final class Hold: Sendable {
  private let isArmed = Atomic(false)
  private let arrived = Semaphore()
  private let proceed = Semaphore()

  func arm() { isArmed.store(true, ordering: .sequentiallyConsistent) }

  /// To be called by the code that is to be held.
  func pass() {
    guard isArmed.exchange(false, ordering: .sequentiallyConsistent) else { return }
    arrived.signal()
    proceed.wait()
  }

  /// Waits until somebody is held, but not for ever.
  func isHolding() -> Bool { arrived.wait(milliseconds: 10_000) }

  func release() { proceed.signal() }
}

/// A small generator whose whole sequence follows from a seed.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) {
    state = seed
  }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

/// The seed of this run's random tests: of COWMOUNT_TEST_SEED, else a new one. Failures print it.
let testSeed: UInt64 =
  getenv("COWMOUNT_TEST_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0...0xFFFF_FFFF)
