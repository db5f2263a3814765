// A gate that is drained while others pass through it all the time.

import Glibc
import Synchronization
import SystemPackage
import Testing
import Threads

@Suite struct DrainGateTests {
  /// What the gate protects: plain memory that who is inside writes, and that must not move while the gate is drained.
  private final class Cells: @unchecked Sendable {
    // SAFETY: each thread writes its own cell, inside the gate; all are read while it is drained. The gate makes the order.
    let values = UnsafeMutablePointer<UInt64>.allocate(capacity: 4)
    let isDone = Atomic(false)
    let gate = DrainGate()

    init() { values.initialize(repeating: 0, count: 4) }
    deinit { values.deallocate() }
  }

  @Test func `nobody is inside while it is drained`() throws {
    let cells = Cells()
    var threads: [pthread_t] = []
    for index in 0..<4 {
      let lane = cells.gate.makeLane()
      threads.append(
        try startThread {
          while !cells.isDone.load(ordering: .relaxed) {
            lane.enter()
            // Odd inside.
            cells.values[index] += 1
            cells.values[index] += 1
            lane.leave()
          }
        })
    }
    for _ in 0..<2000 {
      try cells.gate.drain()
      let before = (0..<4).map { cells.values[$0] }
      for _ in 0..<20 { sched_yield() }
      let after = (0..<4).map { cells.values[$0] }
      cells.gate.open()
      #expect(before == after)
      #expect(before.allSatisfy { $0.isMultiple(of: 2) })
    }
    cells.isDone.store(true, ordering: .relaxed)
    for thread in threads { pthread_join(thread, nil) }
    // They went on in between.
    #expect((0..<4).allSatisfy { cells.values[$0] > 0 })
  }

  @Test func `who stays inside keeps it from being drained, and others from nothing`() throws {
    let gate = DrainGate()
    let (inside, other) = (gate.makeLane(), gate.makeLane())
    inside.enter()
    #expect(throws: Errno.resourceBusy) { try gate.drain(patience: .zero) }
    other.pass {}
    inside.leave()
    try gate.drain(patience: .zero)
    gate.open()
  }

  @Test func `who steps outside does not keep it`() throws {
    let gate = DrainGate()
    let lane = gate.makeLane()
    try lane.pass { () throws(Errno) in
      try lane.step { () throws(Errno) in
        try gate.drain(patience: .zero)
        gate.open()
      }
    }
  }
}
