// Decompressed blocks in memory, the last used ones, shared by all threads.
//
//     state of a slot   who may touch its bytes                      what leads on
//     filling           the one thread that made the slot            filled → ready; failed → failed, and the slot is gone
//     ready             who holds it (users > 0) may read            evicted when nobody holds it and room is needed
//
// Filling happens outside the lock, so different blocks are decompressed at the same time; who wants a block that is being
// filled waits for it and holds it from then on, so each is decompressed once however many ask.
//
// The limits hold for what is being filled, too: a thread waits for room before it begins. Nobody holds one block while
// waiting for another, so somebody always goes on; and a block that is larger than the limit is let in when it is alone.

internal import DiskIO
internal import Glibc
internal import SystemPackage
internal import Threads

/// A cache of blocks that are costly to make.
final class BlockCache: @unchecked Sendable {
  // SAFETY: `slots`, `clock`, `counted` and what slots have as `var` are touched under `monitor` alone, but for `memory`,
  // which is the filling thread's until the slot is `ready` and constant from then on. A slot's bytes are written by the
  // thread that fills it before it is `ready` under the lock, and only read by who holds it then.
  private let monitor = Monitor()
  private var slots: [Int: Slot] = [:]
  private var clock: UInt64 = 0
  private var counted = Counts()

  /// Most blocks at a time.
  let maxBlocks: Int
  /// Most bytes at a time.
  let maxBytes: UInt64

  /// What happened so far.
  struct Counts: Equatable, Sendable {
    /// Reads that found their block.
    var hits = 0
    /// Reads that found somebody else filling it.
    var joins = 0
    /// Times that a block was filled.
    var fills = 0
    /// Bytes in memory.
    var bytes: UInt64 = 0
    /// The most that there were.
    var peakBytes: UInt64 = 0
    /// The most blocks that there were.
    var peakBlocks = 0
  }

  private final class Slot {
    enum State {
      case filling, ready
      case failed(Errno)
    }

    let number: Int
    let count: UInt64
    var state = State.filling
    var memory: Memory?
    var users = 1
    var lastUse: UInt64 = 0

    init(number: Int, count: UInt64) {
      self.number = number
      self.count = count
    }
  }

  /// Memory that goes back to the system at once when it is not needed any more.
  private final class Memory: Sendable {
    let memory: LazyMemory
    var count: UInt64 { UInt64(memory.capacity) }

    init(count: Int) throws(Errno) {
      memory = try LazyMemory(capacity: count)
      try memory.makeAccessible(count)
    }
  }

  init(maxBlocks: Int, maxBytes: UInt64) {
    precondition(maxBlocks > 0)
    self.maxBlocks = maxBlocks
    self.maxBytes = maxBytes
  }

  var counts: Counts { monitor.withLock { counted } }

  /// Copies bytes of a block, from `offset` on, into `buffer`.
  ///
  /// - Parameters:
  ///   - number: which block.
  ///   - count: its size in bytes, more than 0.
  ///   - offset: first byte of it that is wanted; as many as `buffer` has must follow.
  ///   - fill: makes all of the block. Called where it is not there, without any lock; what it throws goes to everybody
  ///     who wants the block now, and who comes later tries again.
  func read(
    block number: Int, count: UInt64, from offset: UInt64, into buffer: UnsafeMutableRawBufferPointer,
    fill: (UnsafeMutableRawBufferPointer) throws(Errno) -> Void
  ) throws(Errno) {
    precondition(offset <= count && UInt64(buffer.count) <= count - offset)
    let (slot, isNew) = try claim(number, count: count)
    if isNew { try self.fill(slot, with: fill) }
    if let memory = slot.memory, let target = buffer.baseAddress {
      // SAFETY: the slot is ready and held, and the range was checked to lie in it.
      memcpy(target, memory.memory.address + Int(offset), buffer.count)
    }
    release(slot)
  }

  /// Holds a block that is ready, or makes a slot that the caller has to fill.
  private func claim(_ number: Int, count: UInt64) throws(Errno) -> (Slot, isNew: Bool) {
    // What is evicted is given back after the lock: that takes a while.
    var evicted: [Slot] = []
    defer { evicted.removeAll() }
    return try monitor.withLock { () throws(Errno) in
      while true {
        if let slot = slots[number] { return (try join(slot), false) }
        if makeRoom(for: count, evicted: &evicted) {
          let slot = insert(number, count: count)
          // New memory costs a fault for every page, and blocks mostly have one size.
          slot.memory = evicted.last?.memory.flatMap { $0.count == count ? $0 : nil }
          return (slot, true)
        }
        monitor.wait()
      }
    }
  }

  /// Waits until a slot is ready.
  private func join(_ slot: Slot) throws(Errno) -> Slot {
    slot.users += 1
    clock += 1
    slot.lastUse = clock
    if case .ready = slot.state { counted.hits += 1 } else { counted.joins += 1 }
    while true {
      switch slot.state {
      case .ready: return slot
      case .failed(let error): throw error
      case .filling: monitor.wait()
      }
    }
  }

  private func insert(_ number: Int, count: UInt64) -> Slot {
    let slot = Slot(number: number, count: count)
    clock += 1
    slot.lastUse = clock
    slots[number] = slot
    counted.fills += 1
    counted.bytes += count
    counted.peakBytes = max(counted.peakBytes, counted.bytes)
    counted.peakBlocks = max(counted.peakBlocks, slots.count)
    return slot
  }

  /// Evicts what was not used for longest until `count` bytes more keep the limits, or nothing is left.
  ///
  /// - Returns: false where all that is left is in use.
  private func makeRoom(for count: UInt64, evicted: inout [Slot]) -> Bool {
    while !slots.isEmpty, slots.count >= maxBlocks || counted.bytes + count > maxBytes {
      let idle = slots.values.lazy.filter { $0.users == 0 }
      guard let oldest = idle.min(by: { $0.lastUse < $1.lastUse }) else { return false }
      remove(oldest)
      evicted.append(oldest)
    }
    return true
  }

  private func remove(_ slot: Slot) {
    slots[slot.number] = nil
    counted.bytes -= slot.count
  }

  private func fill(
    _ slot: Slot, with body: (UnsafeMutableRawBufferPointer) throws(Errno) -> Void
  ) throws(Errno) {
    do throws(Errno) {
      guard let count = Int(exactly: slot.count) else { throw .noMemory }
      let memory = if let reused = slot.memory { reused } else { try Memory(count: count) }
      try body(UnsafeMutableRawBufferPointer(start: memory.memory.address, count: count))
      monitor.withLock {
        slot.memory = memory
        slot.state = .ready
        monitor.changed()
      }
    } catch {
      monitor.withLock {
        slot.state = .failed(error)
        slot.memory = nil
        remove(slot)
        monitor.changed()
      }
      throw error
    }
  }

  private func release(_ slot: Slot) {
    monitor.withLock {
      slot.users -= 1
      // Somebody may wait for room.
      if slot.users == 0 { monitor.changed() }
    }
  }
}
