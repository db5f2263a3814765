// A lock, and conditions to wait for under it until a time. (Synchronization's Mutex has no condition.)

internal import Glibc

/// A mutual exclusion.
public struct Lock: ~Copyable, @unchecked Sendable {
  // SAFETY: it has a fixed address from init to deinit and synchronises itself.
  fileprivate let mutex: UnsafeMutablePointer<pthread_mutex_t>

  /// Creates one that nobody has.
  public init() {
    mutex = .allocate(capacity: 1)
    mutex.initialize(to: pthread_mutex_t())
    let result = pthread_mutex_init(mutex, nil)
    precondition(result == 0)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  /// Waits until nobody has the lock, and takes it.
  public func take() { pthread_mutex_lock(mutex) }

  /// Lets go of the lock.
  public func leave() { pthread_mutex_unlock(mutex) }

  /// Runs `body` while nobody else has the lock.
  public func withLock<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    take()
    defer { leave() }
    return try body()
  }
}

/// Something to wait for under a lock.
public struct Condition: ~Copyable, @unchecked Sendable {
  // SAFETY: as with Lock, a fixed address from init to deinit, and it synchronises itself.
  private let condition: UnsafeMutablePointer<pthread_cond_t>

  /// Creates one that nobody waits for.
  public init() {
    condition = .allocate(capacity: 1)
    condition.initialize(to: pthread_cond_t())
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    let result = pthread_cond_init(condition, &attributes)
    precondition(result == 0)
  }

  deinit {
    pthread_cond_destroy(condition)
    condition.deallocate()
  }

  /// Lets go of the lock and waits until ``signal()`` is called or the time has come; may return without a reason. The
  /// caller has the lock before and afterwards.
  public func wait(_ lock: borrowing Lock, until end: Moment) {
    var time = end.timespec
    pthread_cond_timedwait(condition, lock.mutex, &time)
  }

  /// Lets go of the lock and waits until ``signal()`` is called; may return without a reason. The caller has the lock before
  /// and afterwards.
  public func wait(_ lock: borrowing Lock) { pthread_cond_wait(condition, lock.mutex) }

  /// Wakes everybody who waits.
  public func signal() { pthread_cond_broadcast(condition) }
}
