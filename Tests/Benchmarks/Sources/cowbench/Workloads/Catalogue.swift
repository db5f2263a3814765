// Every workload, in the order in which they run and are printed.

/// All that is measured: throughput first, then real work, then cost.
func allWorkloads(_ scale: Scale) -> [any Workload] {
  let throughput: [any Workload] = fioRows.map { FioWorkload(row: $0) } + xzRows.map { XzRead(row: $0) }
  let work: [any Workload] = [Intact(), LoopWork(direct: false), LoopWork(direct: true)]
  let cost: [any Workload] = [
    ReadyTime(label: "1g", size: 1 << 30), ReadyTime(label: "1t", size: 1 << 40),
    ReadyTime(label: "15t", size: 15 << 40), SequentialOverlay(), RandomOverlay(), SpaceBack(),
    ManyMounts(mounts: scale.mounts),
  ]
  return throughput + work + cost
}
