// Lets one thread wait until nobody is inside a shared structure, at almost no cost to those who go in and out.
//
// Who goes in marks a place of its own and then looks whether the gate is closed; who closes it marks that and then looks at
// each place. One of the two has to see the other, which takes a full memory fence between marking and looking, on both
// sides. The thread that drains pays for both: membarrier(2) has every other thread of the process execute one. So going in
// is a store and a load, and going out a store.

internal import CLinux
internal import Synchronization
public import SystemPackage

/// A gate that threads pass all the time and that is closed rarely.
public final class DrainGate: Sendable {
  fileprivate let isClosed = Atomic(false)
  /// Whether the kernel cannot have other threads execute a fence, so that each does it for itself.
  fileprivate let fencesItself = clinux_prepare_fences() != 0
  private let lock = Lock()
  fileprivate let reopened = Condition()
  private let places = Mutex<[Lane]>([])
  private let drainers = Lock()

  /// Creates an open gate that nobody is inside of.
  public init() {}

  /// One thread's way through a gate. It is used by one thread at a time.
  public final class Lane: Sendable {
    private let gate: DrainGate
    fileprivate let isInside = Atomic(false)

    fileprivate init(_ gate: DrainGate) {
      self.gate = gate
    }

    /// Goes in; waits as long as the gate is closed. Not to be nested.
    public func enter() {
      isInside.store(true, ordering: .relaxed)
      if gate.fencesItself { atomicMemoryFence(ordering: .sequentiallyConsistent) } else { clinux_compiler_fence() }
      if gate.isClosed.load(ordering: .acquiring) { gate.wait(isInside) }
    }

    /// Goes out.
    public func leave() {
      isInside.store(false, ordering: .releasing)
    }

    /// Runs `body` inside.
    public func pass<Result: ~Copyable, Failure: Error>(
      _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
      enter()
      defer { leave() }
      return try body()
    }

    /// Runs `body` outside, for who is inside and waits for something that others have to go in for.
    public func step<Result: ~Copyable, Failure: Error>(
      outside body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
      leave()
      defer { enter() }
      return try body()
    }
  }

  /// A way through for a thread that will use it often; it is there for as long as the gate.
  public func makeLane() -> Lane {
    let lane = Lane(self)
    places.withLock { $0.append(lane) }
    return lane
  }

  /// Closes the gate and waits until nobody is inside. Who wants to go in waits until ``open()``. The caller must not be inside.
  ///
  /// - Parameter patience: how long to keep others waiting before they are let through once more. After forty such tries,
  ///   each a little longer than the one before, it is given up.
  /// - Throws: `.resourceBusy` where somebody stayed inside all that time; the gate is open then.
  public func drain(patience: Duration = .milliseconds(100)) throws(Errno) {
    drainers.take()
    for attempt in 1...40 {
      isClosed.store(true, ordering: .sequentiallyConsistent)
      if fencesItself { atomicMemoryFence(ordering: .sequentiallyConsistent) } else { clinux_fence_everywhere() }
      if isEmpty(by: .now + patience) { return }
      reopen()
      clinux_sleep_microseconds(UInt32(250 * attempt))
    }
    drainers.leave()
    throw .resourceBusy
  }

  /// Opens a gate that the caller has drained.
  public func open() {
    reopen()
    drainers.leave()
  }

  private func reopen() {
    lock.withLock {
      isClosed.store(false, ordering: .releasing)
      reopened.signal()
    }
  }

  private func isEmpty(by deadline: Moment) -> Bool {
    let lanes = places.withLock { $0 }
    var rounds = 0
    for lane in lanes {
      while lane.isInside.load(ordering: .acquiring) {
        rounds += 1
        // Most requests end within microseconds.
        clinux_sleep_microseconds(rounds < 20 ? 0 : 50)
        if rounds.isMultiple(of: 64), deadline < .now { return false }
      }
    }
    return true
  }

  /// Waits until the gate is open, and is inside then.
  private func wait(_ isInside: borrowing Atomic<Bool>) {
    repeat {
      isInside.store(false, ordering: .releasing)
      lock.withLock {
        while isClosed.load(ordering: .relaxed) { reopened.wait(lock, until: .now + .seconds(1)) }
      }
      isInside.store(true, ordering: .relaxed)
      atomicMemoryFence(ordering: .sequentiallyConsistent)
    } while isClosed.load(ordering: .acquiring)
  }
}
