// Running fio and reading its answer.

import SystemPackage

/// What a fio run did, its jobs together.
struct FioResult {
  let bytes: Double
  let seconds: Double

  /// Runs fio on an existing file.
  ///
  /// fio must not drop the file's pages first (`invalidate`), as it does by default: what is cached is ours to say.
  /// With threads for jobs, ending fio ends them all.
  static func run(on file: FilePath, size: Int64, _ arguments: [String]) async throws -> FioResult {
    let printed = try await command(
      "fio",
      [
        "--name=job", "--filename=\(file)", "--size=\(size)", "--thread", "--invalidate=0",
        "--gtod_reduce=1", "--output-format=terse", "--terse-version=3",
      ] + arguments)
    guard let result = FioResult(terse: printed) else {
      throw CommandFailed(description: "fio: \(printed.firstLine ?? "no answer")")
    }
    return result
  }

  /// Reads fio's terse format, version 3: fields between semicolons, at places that its manual fixes. Its JSON says
  /// more, but of that nothing is needed here, and this needs no parser.
  ///
  /// The run time includes a final fsync (`--end_fsync`).
  init?(terse: String) {
    // The line may be preceded by warnings.
    guard let line = terse.split(separator: "\n").first(where: { $0.hasPrefix("3;") }) else { return nil }
    let fields = line.split(separator: ";", omittingEmptySubsequences: false)
    func number(_ index: Int) -> Double? { fields.indices.contains(index) ? Double(String(fields[index])) : nil }
    // From 5 on for reads and from 46 on for writes: KiB done, KiB/s, requests/s, run time in ms.
    guard number(4) == 0, let read = number(5), let readTime = number(8), let written = number(46),
      let writeTime = number(49)
    else { return nil }
    let time = max(readTime, writeTime)
    guard time > 0 else { return nil }
    bytes = (read + written) * 1024
    seconds = time / 1000
  }
}

/// One row of the fio table as a workload.
struct FioWorkload: Workload {
  let row: FioRow

  var id: String { row.id }

  var rows: [Row] { [Row(id: row.id, title: row.title, unit: row.unit, higherIsBetter: true)] }

  func measure(_ contender: any Contender, in arena: Arena) async throws -> [Outcome] {
    let size = arena.scale.size
    return try await arena.withExposed(try arena.bases.data(), by: contender) { exposed in
      if row.written {
        _ = try await FioResult.run(
          on: exposed.file, size: size, ["--rw=write", "--bs=1m", "--end_fsync=1"])
      }
      try PageCache.set(row.cache, exposed: exposed, length: size)
      let result = try await FioResult.run(
        on: exposed.file, size: size, row.arguments + bound(seconds: arena.scale.seconds))
      return [.value(figure(result))]
    }
  }

  private func bound(seconds: Int) -> [String] {
    let files = ["--allow_file_create=0"]
    switch row.bound {
    case .pass: return files
    case .atMost: return files + ["--runtime=\(seconds)"]
    case .steady: return files + ["--runtime=\(seconds)", "--time_based"]
    }
  }

  private func figure(_ result: FioResult) -> Double {
    let rate = result.bytes / result.seconds
    return row.unit == .thousandPerSecond ? rate / 4096 / 1000 : rate / Double(1 << 20)
  }
}
