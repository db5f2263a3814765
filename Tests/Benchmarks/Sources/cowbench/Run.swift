// One run from the options to the report.

import ArgumentParser
import Glibc
import SystemPackage

struct Run {
  let options: CowBench
  private let scale: Scale
  private let rounds: Int

  init(options: CowBench) {
    self.options = options
    let size = options.size?.bytes ?? (options.quick ? 256 << 20 : 1 << 30)
    scale = Scale(size: size, quick: options.quick)
    rounds = options.quick ? 1 : options.rounds
  }

  func start() async throws {
    if options.list { return list() }
    let (present, leftOut) = try chosenContenders()
    let workloads = allWorkloads(scale).filter(isChosen)
    if workloads.isEmpty { throw ValidationError("no workload matches; see --list") }
    guard getuid() == 0 else { throw CommandFailed(description: "cowbench needs root") }
    if locate("fio") == nil { throw CommandFailed(description: "cowbench needs fio") }
    for line in leftOut { note("left out: " + line) }

    try await Interrupts.cancelling {
      try await withDirectory { directory in
        let arena = Arena(directory: directory, scale: scale)
        let start = ContinuousClock.now
        let results = try await measure(workloads, by: present, in: arena)
        let report = try await report(results, present, leftOut, took: ContinuousClock.now - start)
        print(options.markdown ? report.markdown : report.text)
        if let file = options.json { try writeText(report.json.written() + "\n", to: FilePath(file)) }
      }
    }
  }

  /// Round by round, workload by workload, the contenders right after one another. In an order that changes, the
  /// same in every run: what one leaves behind (free memory, a busy disk) is not always the same other's to find.
  private func measure(
    _ workloads: [any Workload], by contenders: [any Contender], in arena: Arena
  ) async throws -> Results {
    let rows = workloads.flatMap(\.rows)
    var results = Results(contenders: contenders.map(\.name), rows: rows)
    var order = SeededGenerator(seed: 3)
    for round in 0..<rounds {
      for workload in workloads where round == 0 || !workload.once {
        for contender in contenders.shuffled(using: &order) {
          let start = ContinuousClock.now
          let outcomes = try await outcomes(of: workload, contender, arena)
          let seconds = fixed((ContinuousClock.now - start) / .seconds(1), digits: 1)
          note("round \(round + 1)/\(rounds)  \(workload.id)  \(contender.name)  took \(seconds) s")
          for (row, outcome) in zip(workload.rows, outcomes) {
            results.add(outcome, row: row, contender: contender.name)
            note("    \(row.id)  \(describe(outcome, row))")
          }
        }
      }
    }
    return results
  }

  /// A contender that fails fails its rows, not the run. An interrupt ends the run.
  private func outcomes(
    of workload: any Workload, _ contender: any Contender, _ arena: Arena
  ) async throws -> [Outcome] {
    do {
      return try await workload.measure(contender, in: arena)
    } catch {
      try Task.checkCancellation()
      let reason = "\(error)".replacing(arena.directory.string + "/", with: "")
      return workload.rows.map { _ in .failed(reason) }
    }
  }

  private func describe(_ outcome: Outcome, _ row: Row) -> String {
    switch outcome {
    case .value(let value): "\(fixed(value, digits: row.unit.digits)) \(row.unit.rawValue)"
    case .failed(let reason): "fails: \(reason)"
    case .none: "–"
    }
  }

  private func report(
    _ results: Results, _ contenders: [any Contender], _ leftOut: [String], took duration: Duration
  ) async throws -> Report {
    var versions: [(name: String, version: String)] = []
    for contender in contenders where contender.name != reference {
      versions.append((contender.name, await contender.version()))
    }
    return Report(
      results: results, host: await Host.describe(directory: FilePath(options.directory)),
      commandLine: commandLine, scale: scale, rounds: rounds, isQuick: options.quick, versions: versions,
      leftOut: leftOut, duration: duration)
  }

  /// The command as it can be typed again, without the path it happened to be started by.
  private var commandLine: String {
    (["cowbench"] + CommandLine.arguments.dropFirst()).joined(separator: " ")
  }

  /// A folder of the run's own, removed at its end with all that is in it.
  private func withDirectory(_ body: (FilePath) async throws -> Void) async throws {
    let directory = FilePath(options.directory).appending("cowbench.\(getpid())")
    try makeFolder(directory)
    let outcome: (any Error)?
    do {
      try await body(directory)
      outcome = nil
    } catch {
      outcome = error
    }
    await uncancelled {
      _ = try? await command("rm", ["-rf", "--one-file-system", directory.string])
    }
    if let outcome { throw outcome }
  }

  private func chosenContenders() throws -> (present: [any Contender], leftOut: [String]) {
    let all = allContenders(cowmount: options.cowmount)
    var present: [any Contender] = []
    var leftOut: [String] = []
    for name in options.contenders.split(separator: ",").map(String.init) {
      guard let contender = all.first(where: { $0.name == name }) else {
        throw ValidationError("no contender \(name); there are \(all.map(\.name).joined(separator: ", "))")
      }
      if let missing = contender.missing {
        leftOut.append("\(name) (\(missing) is not there)")
      } else {
        present.append(contender)
      }
    }
    if present.isEmpty { throw CommandFailed(description: "none of the contenders is there") }
    return (present, leftOut)
  }

  private func isChosen(_ workload: any Workload) -> Bool {
    let names = [workload.id] + workload.rows.map(\.id)
    return options.only.isEmpty
      || options.only.contains { pattern in
        names.contains { $0.contains(pattern) || fnmatch(pattern, $0, 0) == 0 }
      }
  }

  private func list() {
    for row in allWorkloads(scale).flatMap(\.rows) { print("\(row.id)\t\(row.title) [\(row.unit.rawValue)]") }
    print()
    for contender in allContenders(cowmount: options.cowmount) {
      print("\(contender.name)\t\(contender.missing.map { "\($0) is not there" } ?? "present")")
    }
  }
}
