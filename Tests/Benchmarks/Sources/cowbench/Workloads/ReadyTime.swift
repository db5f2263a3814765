// How long until a mount can be used, and what it weighs before it is.

import SystemPackage

struct ReadyTime: Workload {
  let label: String
  let size: Int64

  var id: String { "ready-" + label }

  var rows: [Row] {
    let size = sizeText(size)
    return [
      Row(id: id, title: "time to ready, \(size) sparse", unit: .milliseconds, higherIsBetter: false),
      Row(
        id: "resident-" + label, title: "resident memory when idle, \(size) sparse", unit: .mebibytes,
        higherIsBetter: false),
    ]
  }

  func measure(_ contender: any Contender, in arena: Arena) async throws -> [Outcome] {
    let base = try arena.bases.sparse(size)
    // Workloads before this one may have dropped the programs themselves from the page cache.
    try await arena.withExposed(base, by: contender) { _ in }
    let start = ContinuousClock.now
    return try await arena.withExposed(base, by: contender) { exposed in
      // Until a first byte can be read, with everything that has to be made for it (a qcow2, a socket).
      let ready = (ContinuousClock.now - start) / .milliseconds(1)
      if exposed.stage.processes.isEmpty { return [.none, .none] }
      try await Task.sleep(for: .milliseconds(300))
      return [.value(ready), .value(exposed.stage.memory("VmRSS"))]
    }
  }
}

/// Many mounts of one base at the same time.
struct ManyMounts: Workload {
  let mounts: Int

  var id: String { "many-mounts" }
  var once: Bool { true }

  var rows: [Row] {
    [
      Row(
        id: "many-mounts-memory", title: "\(mounts) mounts of one base: memory each (shared pages shared out)",
        unit: .mebibytes, higherIsBetter: false),
      Row(
        id: "many-mounts-idle", title: "\(mounts) mounts of one base: processor time of all when idle",
        unit: .millisecondsPerSecond, higherIsBetter: false),
    ]
  }

  func measure(_ contender: any Contender, in arena: Arena) async throws -> [Outcome] {
    try await withMounts(mounts, of: try arena.bases.data(), by: contender, in: arena) { stages in
      if stages.allSatisfy({ $0.processes.isEmpty }) { return [.none, .none] }
      // Some look at things once more a few seconds after the last request.
      try await Task.sleep(for: .seconds(11))
      let before = stages.map(\.processorTimes)
      let start = ContinuousClock.now
      try await Task.sleep(for: arena.scale.idle)
      let used = zip(stages, before).map(Self.used).reduce(0, +) / 1_000_000
      let seconds = (ContinuousClock.now - start) / .seconds(1)
      let memory = stages.map(\.proportionalMemory).reduce(0, +) / Double(stages.count)
      return [.value(memory), .value(used / seconds)]
    }
  }

  /// Thread by thread: one that ended in between (a pool shrinks) must not take its time off the sum.
  private static func used(by stage: Stage, since before: [String: Double]) -> Double {
    stage.processorTimes.map { $0.value - (before[$0.key] ?? 0) }.reduce(0, +)
  }

  /// One mount inside the other's scope, so that each is taken down whatever happens to the rest.
  private func withMounts(
    _ count: Int, of base: Base, by contender: any Contender, in arena: Arena, stages: [Stage] = [],
    _ body: ([Stage]) async throws -> [Outcome]
  ) async throws -> [Outcome] {
    if stages.count == count { return try await body(stages) }
    return try await arena.withExposed(base, by: contender) { exposed in
      try await withMounts(
        count, of: base, by: contender, in: arena, stages: stages + [exposed.stage], body)
    }
  }
}
