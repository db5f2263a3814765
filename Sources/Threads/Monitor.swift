// A lock that one can wait under until something changes, for those who wait for one thing and as long as it takes.

/// A mutual exclusion with one condition.
public struct Monitor: ~Copyable, Sendable {
  private let lock = Lock()
  private let condition = Condition()

  /// Creates a lock that nobody holds.
  public init() {}

  /// Runs `body` while nobody else does.
  public func withLock<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    try lock.withLock(body)
  }

  /// Lets go of the lock until somebody calls ``changed()``. Only under the lock; may return without a reason.
  public func wait() { condition.wait(lock) }

  /// Wakes everybody who waits.
  public func changed() { condition.signal() }
}
