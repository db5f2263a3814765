// Times by the clock that stands still while the machine sleeps, and waiting for one: a lock that one can wait under.
// (Synchronization's Mutex has no condition to wait for, and Swift's clocks are not what pthreads wait by.)

internal import Glibc

/// A point in time.
struct Moment: Comparable {
  private let nanoseconds: Int64

  private init(nanoseconds: Int64) {
    self.nanoseconds = nanoseconds
  }

  /// The present.
  static var now: Moment {
    var now = Glibc.timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Moment(nanoseconds: Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec))
  }

  static func < (left: Moment, right: Moment) -> Bool { left.nanoseconds < right.nanoseconds }

  /// Later by a time; the end of time where that is beyond it.
  static func + (moment: Moment, time: Duration) -> Moment {
    let (seconds, attoseconds) = time.components
    let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, overflow2) = moment.nanoseconds.addingReportingOverflow(
      overflow ? .max : whole + attoseconds / 1_000_000_000)
    return Moment(nanoseconds: overflow || overflow2 ? .max : sum)
  }

  /// Milliseconds from now to then, rounded up, as poll(2) takes them; 0 where it is over.
  var milliseconds: CInt {
    let left = nanoseconds - Moment.now.nanoseconds
    return left <= 0 ? 0 : CInt(clamping: left / 1_000_000 + 1)
  }

  fileprivate var timespec: Glibc.timespec {
    Glibc.timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
  }
}

/// A mutual exclusion.
struct Lock: ~Copyable, @unchecked Sendable {
  // SAFETY: it has a fixed address from init to deinit and synchronises itself.
  fileprivate let mutex: UnsafeMutablePointer<pthread_mutex_t>

  init() {
    mutex = .allocate(capacity: 1)
    mutex.initialize(to: pthread_mutex_t())
    let result = pthread_mutex_init(mutex, nil)
    precondition(result == 0)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  func take() { pthread_mutex_lock(mutex) }

  func leave() { pthread_mutex_unlock(mutex) }

  func withLock<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    take()
    defer { leave() }
    return try body()
  }
}

/// Something to wait for under a lock.
struct Condition: ~Copyable, @unchecked Sendable {
  // SAFETY: as above.
  private let condition: UnsafeMutablePointer<pthread_cond_t>

  init() {
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

  /// Lets go of the lock until it is signalled or the time has come; may return without a reason.
  func wait(_ lock: borrowing Lock, until end: Moment) {
    var time = end.timespec
    pthread_cond_timedwait(condition, lock.mutex, &time)
  }

  /// Wakes everybody who waits.
  func signal() { pthread_cond_broadcast(condition) }
}
