// The two kinds of lock in the engine. Order: the gate first, then at most one stripe. Stripes are never nested.

internal import Synchronization
internal import Threads

/// Locks for state transitions, one for each stretch of a disk and shared by many stretches.
///
/// A stretch is 1 MiB, or one block where blocks are larger: a large write takes few locks and reserves its space in few
/// calls, while small writes elsewhere go on.
struct StripeLocks: ~Copyable, @unchecked Sendable {
  // SAFETY: initialised in init, deinitialised in deinit, each Mutex synchronises itself.
  private let stripes: UnsafeMutablePointer<Stripe>

  private static let count = 256
  private static let stretchShift: UInt64 = 20

  /// Binary logarithm of the blocks in a stretch.
  let blocksShift: UInt64

  /// A lock on a cache line of its own.
  private struct Stripe: ~Copyable {
    let mutex = Mutex<Void>(())
    let padding: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0)
  }

  init(_ geometry: Geometry) {
    blocksShift = geometry.blockShift < Self.stretchShift ? Self.stretchShift - geometry.blockShift : 0
    stripes = .allocate(capacity: Self.count)
    for index in 0..<Self.count { (stripes + index).initialize(to: Stripe()) }
  }

  deinit {
    stripes.deinitialize(count: Self.count)
    stripes.deallocate()
  }

  /// The first block after the stretch that `block` is in.
  func endOfStretch(of block: UInt64) -> UInt64 { ((block >> blocksShift) + 1) << blocksShift }

  /// Runs `body` while nobody else changes the state of a block in the stretch of `block`.
  @inline(__always)
  func withLock<Result: ~Copyable, Failure: Error>(
    of block: UInt64, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let stripe = Int((block >> blocksShift) % UInt64(Self.count))
    return try stripes[stripe].mutex.withLock { (_) throws(Failure) -> Result in try body() }
  }
}

/// Lets the size change only while no transition is under way: transitions pass it together, a change of size alone.
struct ResizeGate: ~Copyable, Sendable {
  private let lock = SharedLock()

  @inline(__always)
  func shared<Result: ~Copyable, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    lock.takeShared()
    defer { lock.leave() }
    return try body()
  }

  func exclusive<Result: ~Copyable, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    lock.take()
    defer { lock.leave() }
    return try body()
  }
}
