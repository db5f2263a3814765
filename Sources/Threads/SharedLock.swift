// A lock that many can have together, or one alone.

internal import Glibc

/// A shared or exclusive lock.
public struct SharedLock: ~Copyable, @unchecked Sendable {
  // SAFETY: it has a fixed address from init to deinit and synchronises itself.
  private let lock: UnsafeMutablePointer<pthread_rwlock_t>

  /// Creates one that nobody has.
  public init() {
    lock = .allocate(capacity: 1)
    lock.initialize(to: pthread_rwlock_t())
    let result = pthread_rwlock_init(lock, nil)
    precondition(result == 0)
  }

  deinit {
    pthread_rwlock_destroy(lock)
    lock.deallocate()
  }

  /// Waits until nobody has the lock alone, and takes it together with others.
  public func takeShared() { pthread_rwlock_rdlock(lock) }

  /// Waits until nobody has the lock, and takes it alone.
  public func take() { pthread_rwlock_wrlock(lock) }

  /// Lets go of the lock, in whichever way it was taken.
  public func leave() { pthread_rwlock_unlock(lock) }
}
