// How often what is asked of a mount. Each worker counts for itself, in memory of its own that no other writes to, so counting
// costs a load and a store; whoever wants the sums adds them up, and may be a request behind.

import Synchronization

/// What requests are told apart by.
public enum RequestKind: Int, CaseIterable, Sendable {
  case read, write, allocate, seek, attributes, control, other
}

/// One worker's counts.
struct RequestTally: @unchecked Sendable {
  // SAFETY: only its worker stores; the memory is never freed, for who adds up may come after the worker's end.
  private let cells: UnsafeMutablePointer<Atomic<UInt64>>

  /// Two cache lines, as processors fetch them, so that two workers share none.
  private static let size = 128

  init() {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: Self.size, alignment: Self.size)
    let count = Self.size / MemoryLayout<Atomic<UInt64>>.stride
    cells = memory.bindMemory(to: Atomic<UInt64>.self, capacity: count)
    for index in 0..<count { (cells + index).initialize(to: Atomic(0)) }
    assert(2 * RequestKind.allCases.count <= count)
  }

  /// Counts a request for so many bytes. By its worker only.
  @inline(__always)
  func count(_ kind: RequestKind, bytes: Int) {
    Self.add(1, to: cells[2 * kind.rawValue])
    Self.add(UInt64(truncatingIfNeeded: bytes), to: cells[2 * kind.rawValue + 1])
  }

  @inline(__always)
  private static func add(_ number: UInt64, to cell: borrowing Atomic<UInt64>) {
    cell.store(cell.load(ordering: .relaxed) &+ number, ordering: .relaxed)
  }

  func counts(of kind: RequestKind) -> (requests: UInt64, bytes: UInt64) {
    (cells[2 * kind.rawValue].load(ordering: .relaxed), cells[2 * kind.rawValue + 1].load(ordering: .relaxed))
  }
}

/// What was asked of a mount so far.
public final class RequestCounts: Sendable {
  private let tallies = Mutex<[RequestTally]>([])

  func add(_ tally: RequestTally) { tallies.withLock { $0.append(tally) } }

  /// How many threads count, which is how many serve.
  public var threads: Int { tallies.withLock { $0.count } }

  /// How often this was asked, and for how many bytes.
  public func sum(of kind: RequestKind) -> (requests: UInt64, bytes: UInt64) {
    tallies.withLock { $0 }.reduce((0, 0)) { sum, tally in
      let counts = tally.counts(of: kind)
      return (sum.0 &+ counts.requests, sum.1 &+ counts.bytes)
    }
  }
}
