// Real work on an ext4 in the image, mounted through a loop device.

import SystemPackage

/// Unpack, sync, read back cold, small writes with an fsync each, delete, trim: each a row, and their sum.
struct LoopWork: Workload {
  let direct: Bool

  var id: String { direct ? "loop-direct" : "loop-buffered" }

  var rows: [Row] {
    let phases = [
      ("untar", "untar"), ("sync", "sync"), ("read", "cold read-back"), ("fsync", "1000 small writes, fsync each"),
      ("rm", "rm -rf"), ("fstrim", "fstrim"), ("total", "in all, without fstrim"),
    ]
    return phases.map { phase in
      Row(
        id: "\(id)-\(phase.0)", title: "ext4 on a loop device, direct I/O \(direct ? "on" : "off"): \(phase.1)",
        unit: .seconds, higherIsBetter: false)
    }
  }

  func measure(_ contender: any Contender, in arena: Arena) async throws -> [Outcome] {
    let archive = try arena.bases.archive()
    return try await arena.withExposed(try await arena.bases.fileSystem(), by: contender) { exposed in
      let loop = try await LoopDevice.attach(exposed, direct: direct)
      try loop.mountFileSystem()
      let root = loop.mountPoint
      let tree = root.appending("tree")
      try readThrough(archive, length: .max)

      let untar = try await time { try await command("tar", ["-xf", archive.string, "-C", root.string]) }
      let sync = try await time { try await command("sync", ["--file-system", root.string]) }
      await loop.unmountFileSystem()
      try PageCache.flush(exposed.file)
      try PageCache.dropAll()
      try loop.mountFileSystem()
      // tar reads nothing when it sees that its archive is /dev/null.
      let read = try await time {
        try await command("sh", ["-c", "tar -cf - \"$1\" | cat > /dev/null", "sh", tree.string])
      }
      let fsync = try await FioResult.run(
        on: root.appending("small"), size: 4000 << 10, ["--rw=write", "--bs=4k", "--fsync=1", "--fallocate=none"]
      ).seconds
      let remove = try await time { try await command("rm", ["-rf", tree.string]) }
      let total = untar + sync + read + fsync + remove
      return [untar, sync, read, fsync, remove].map { .value($0) } + [await trim(root, of: exposed), .value(total)]
    }
  }

  /// Kept out of the sum, because not everybody can do it. That fstrim succeeds says nothing: the kernel hides a
  /// device that refuses to discard, and doing nothing is fastest. So the space must have come back.
  private func trim(_ root: FilePath, of exposed: Exposed) async -> Outcome {
    do {
      // Before the journal is through, the blocks of a deleted file are not free yet, and fstrim passes them by.
      try await command("sync", ["--file-system", root.string])
      let before = exposed.bytesOnDisk
      let seconds = try await time { try await command("fstrim", [root.string]) }
      return exposed.bytesOnDisk < before ? .value(seconds) : .failed("fstrim gives no space back")
    } catch {
      return .failed("\(error)")
    }
  }

  private func time(_ body: () async throws -> some Any) async throws -> Double {
    try await ContinuousClock().measure { _ = try await body() } / .seconds(1)
  }
}
