// What an overlay costs for what is in it: bytes on disk and memory.

import SystemPackage

/// After the area has been written from end to end.
struct SequentialOverlay: Workload {
  let id = "overlay-sequential"
  let once = true

  let rows = [
    Row(
      id: "overlay-sequential", title: "overlay bytes per dirty byte, sequential 1 MiB writes", unit: .ratio,
      higherIsBetter: false),
    // Private memory: pages of a mapped overlay are page cache, which the kernel takes back when it needs it.
    Row(
      id: "memory-private", title: "private memory per dirty GiB", unit: .mebibytes, higherIsBetter: false),
    Row(
      id: "memory-resident", title: "resident memory per dirty GiB, mapped page cache included", unit: .mebibytes,
      higherIsBetter: false),
  ]

  func measure(_ contender: any Contender, in arena: Arena) async throws -> [Outcome] {
    let size = arena.scale.size
    return try await arena.withExposed(try arena.bases.data(), by: contender) { exposed in
      if exposed.stage.processes.isEmpty { return [.none, .none, .none] }
      let stage = exposed.stage
      let (bytes, anonymous, resident) = (exposed.bytesOnDisk, stage.memory("RssAnon"), stage.memory("VmRSS"))
      _ = try await FioResult.run(
        on: exposed.file, size: size, ["--rw=write", "--bs=1m", "--end_fsync=1", "--allow_file_create=0"])
      let gibibytes = Double(size) / Double(1 << 30)
      return [
        .value((exposed.bytesOnDisk - bytes) / Double(size)),
        .value((stage.memory("RssAnon") - anonymous) / gibibytes),
        .value((stage.memory("VmRSS") - resident) / gibibytes),
      ]
    }
  }
}

/// After single blocks far apart: where reserving more than what is written shows.
struct RandomOverlay: Workload {
  let id = "overlay-random"
  let once = true
  /// Few enough that a contender which stores 1 MiB for each stays at 2 GiB.
  private let writes = 2048
  private let range: Int64 = 64 << 30

  let rows = [
    Row(
      id: "overlay-random", title: "overlay bytes per dirty byte, random 4 KiB writes over 64 GiB sparse",
      unit: .ratio, higherIsBetter: false)
  ]

  func measure(_ contender: any Contender, in arena: Arena) async throws -> [Outcome] {
    try await arena.withExposed(try arena.bases.sparse(range), by: contender) { exposed in
      let before = exposed.bytesOnDisk
      // Direct, so that each arrives as it is; fio writes no block twice.
      let result = try await FioResult.run(
        on: exposed.file, size: range,
        [
          "--rw=randwrite", "--bs=4k", "--direct=1", "--ioengine=libaio", "--iodepth=8",
          "--number_ios=\(writes)", "--end_fsync=1", "--allow_file_create=0",
        ])
      return [.value((exposed.bytesOnDisk - before) / result.bytes)]
    }
  }
}

/// Whether what was written is there afterwards. Speed of one who fails here means nothing.
struct Intact: Workload {
  let id = "intact"
  let once = true

  let rows = [
    Row(
      id: "intact", title: "blocks intact after random 4 KiB direct writes, depth 16", unit: .percent,
      higherIsBetter: true)
  ]

  func measure(_ contender: any Contender, in arena: Arena) async throws -> [Outcome] {
    try await arena.withExposed(try arena.bases.data(), by: contender) { exposed in
      _ = try await FioResult.run(
        on: exposed.file, size: 16 << 20,
        [
          "--rw=randwrite", "--bs=4k", "--direct=1", "--ioengine=libaio", "--iodepth=16", "--verify=crc32c",
          // Or fio leaves a file in the current directory.
          "--verify_state_save=0",
        ])
      return [.value(100)]
    }
  }
}

/// How much of the overlay's space comes back when the image's user gives it up.
struct SpaceBack: Workload {
  let id = "space-back"
  let once = true

  let rows = [
    Row(
      id: "space-back-trim", title: "space back after trim (PUNCH_HOLE)", unit: .percent, higherIsBetter: true),
    Row(
      id: "space-back-zero", title: "space back after writing zeros (ZERO_RANGE)", unit: .percent,
      higherIsBetter: true),
  ]

  func measure(_ contender: any Contender, in arena: Arena) async throws -> [Outcome] {
    [
      try await back(after: "--punch-hole", contender, arena), try await back(after: "--zero-range", contender, arena),
    ]
  }

  private func back(after verb: String, _ contender: any Contender, _ arena: Arena) async throws -> Outcome {
    let length = arena.scale.size / 4
    // Over data, not over a hole: what is zeroed must not show the base again, and that is the hard part.
    var base = try arena.bases.data()
    base.isReusable = false
    return try await arena.withExposed(base, by: contender) { exposed in
      _ = try await FioResult.run(
        on: exposed.file, size: length, ["--rw=write", "--bs=1m", "--end_fsync=1", "--allow_file_create=0"])
      let full = exposed.bytesOnDisk
      do {
        try await command("fallocate", [verb, "--offset", "0", "--length", "\(length)", exposed.file.string])
      } catch let failure as CommandFailed {
        return .failed(failure.description)
      }
      try PageCache.flush(exposed.file)
      return .value((full - exposed.bytesOnDisk) / Double(length) * 100)
    }
  }
}
