// A lock that one can wait under until something changes. (Synchronization's Mutex has no condition to wait for.)

internal import Glibc

/// A mutual exclusion with one condition.
public struct Monitor: ~Copyable, @unchecked Sendable {
  // SAFETY: both have a fixed address from init to deinit and synchronise themselves.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>

  /// Creates a lock that nobody holds.
  public init() {
    mutex = .allocate(capacity: 1)
    mutex.initialize(to: pthread_mutex_t())
    condition = .allocate(capacity: 1)
    condition.initialize(to: pthread_cond_t())
    let results = (pthread_mutex_init(mutex, nil), pthread_cond_init(condition, nil))
    precondition(results == (0, 0))
  }

  deinit {
    pthread_cond_destroy(condition)
    condition.deallocate()
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  /// Runs `body` while nobody else does.
  public func withLock<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body()
  }

  /// Lets go of the lock until somebody calls ``changed()``. Only under the lock; may return without a reason.
  public func wait() {
    pthread_cond_wait(condition, mutex)
  }

  /// Wakes everybody who waits.
  public func changed() {
    pthread_cond_broadcast(condition)
  }
}
