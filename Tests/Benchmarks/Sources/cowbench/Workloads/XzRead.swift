// Reading what is in an xz file, by several readers: for those that can decompress as they read.

import SystemPackage

/// One way to read it.
struct XzRow {
  let id: String
  let title: String
  /// Bytes of a block of the file.
  let blockSize: Int64
  let readers: Int
  /// How much each of them reads at once; nil for sequential reading in steps of 1 MiB.
  let random: Int?
}

let xzRows = [
  XzRow(
    id: "xz-read-seq-1", title: "xz in blocks of 16 MiB, sequential, one reader, cold", blockSize: 16 << 20,
    readers: 1, random: nil),
  XzRow(
    id: "xz-read-seq-4", title: "the same, four readers, each a quarter", blockSize: 16 << 20, readers: 4, random: nil),
  XzRow(
    id: "xz-read-rand-4", title: "xz in blocks of 1 MiB, random 64 KiB, four readers, cold", blockSize: 1 << 20,
    readers: 4, random: 64 << 10),
]

struct XzRead: Workload {
  let row: XzRow

  var id: String { row.id }

  var rows: [Row] { [Row(id: row.id, title: row.title, unit: .mebibytesPerSecond, higherIsBetter: true)] }

  func measure(_ contender: any Contender, in arena: Arena) async throws -> [Outcome] {
    guard contender.readsXz else { return [.none] }
    let base = try await arena.bases.xz(blockSize: row.blockSize)
    return try await arena.withExposed(base, by: contender) { exposed in
      try PageCache.set(.cold, exposed: exposed, length: base.size)
      let result = try await FioResult.run(
        on: exposed.file, size: row.random == nil ? base.size / Int64(row.readers) : base.size,
        work(share: base.size / Int64(row.readers), seconds: arena.scale.seconds) + [
          "--numjobs=\(row.readers)", "--group_reporting", "--readonly", "--allow_file_create=0",
        ])
      return [.value(result.bytes / result.seconds / Double(1 << 20))]
    }
  }

  private func work(share: Int64, seconds: Int) -> [String] {
    if let size = row.random { return ["--rw=randread", "--bs=\(size)", "--runtime=\(seconds)", "--time_based"] }
    return ["--rw=read", "--bs=1m", "--offset_increment=\(share)"]
  }
}
