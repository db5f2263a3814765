// The run: which parts, for how long, and what came of them.

internal import ArgumentParser
internal import Glibc

enum Part: String, CaseIterable, ExpressibleByArgument {
  case fuzz, kill, signals, orders, memory, flat
}

struct Soak: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Works cowmount hard, and compares every byte with what it must be.")

  @Option(help: "The cowmount to work on.")
  var cowmount = ".build/release/cowmount"

  @Option(help: "How long, in seconds.")
  var seconds = 1800.0

  @Option(help: "End after so many fuzzing operations.")
  var operations: Int?

  @Flag(help: "All parts in about half a minute, and nothing told but what failed.")
  var short = false

  @Option(help: "What everything random follows from. (default: another one each time)")
  var seed: UInt64?

  @Option(name: .customLong("part"), help: "Only this part; can be given several times.")
  var parts: [Part] = []

  @Option(help: "Run one round of fuzzing again, by the seed that it told.")
  var round: UInt64?

  func run() throws {
    signal(SIGPIPE, SIG_IGN)
    guard geteuid() == 0, access("/dev/fuse", R_OK | W_OK) == 0 else {
      let reason = "it mounts, loops and kills, so it needs root and /dev/fuse"
      // As the mount tests do, where nobody insists.
      let isRequired = getenv("COWMOUNT_REQUIRE_MOUNTS").map { String(cString: $0) } == "1"
      guard short, !isRequired else { throw ValidationError("cowsoak: \(reason)") }
      return tell("cowsoak: skipped: \(reason)")
    }
    guard let binary = realpath(cowmount, nil) else { throw ValidationError("there is no \(cowmount)") }
    let stage = try Stage(cowmount: String(cString: binary))
    free(binary)
    defer { stage.end() }
    let seed = seed ?? UInt64.random(in: 0...UInt64(UInt32.max))
    tell("cowsoak: seed \(seed), \(stage.cowmount)")
    let run = SoakRun(stage, seed: seed, isQuiet: short)
    if let round {
      run.fuzz(seed: round, seconds: seconds, operations: operations)
    } else {
      let wanted = Set(parts.isEmpty ? Part.allCases : parts)
      if short { run.short(wanted) } else { run.long(wanted, seconds: seconds, operations: operations) }
    }
    run.summarise()
    if !run.failures.isEmpty { throw ExitCode.failure }
  }
}

/// What was done, and what failed.
final class SoakRun {
  private let stage: Stage
  private let seed: UInt64
  private let isQuiet: Bool
  private var uses: UInt64 = 0
  private let begin = now()
  private(set) var failures: [String] = []
  private var skipped: Set<String> = []
  private var counts: [(name: String, number: Int)] = []

  init(_ stage: Stage, seed: UInt64, isQuiet: Bool) {
    self.stage = stage
    self.seed = seed
    self.isQuiet = isQuiet
  }

  private func nextSeed() -> UInt64 {
    uses += 1
    return Randomness.derive(seed, uses)
  }

  // MARK: Plans

  func short(_ parts: Set<Part>) {
    if parts.contains(.fuzz) { for _ in 0..<6 { fuzz(seed: nextSeed(), seconds: 1.5, operations: nil) } }
    if parts.contains(.kill) { kills(12) }
    if parts.contains(.signals) { signals(8) }
    if parts.contains(.orders) { orders(8) }
    if parts.contains(.memory) { memory(limit: 64 << 20, written: 192 << 20) }
    if parts.contains(.flat) { flat(opens: 1000, requests: 30_000) }
  }

  func long(_ parts: Set<Part>, seconds: Double, operations: Int?) {
    let end = begin + seconds
    if parts.contains(.flat) { flat(opens: 10_000, requests: 1_000_000) }
    if parts.contains(.memory) { memory(limit: 256 << 20, written: 2 << 30) }
    var rest = parts.subtracting([.flat, .memory])
    while now() < end, !rest.isEmpty {
      if parts.contains(.fuzz) {
        for _ in 0..<6 where now() < end && fuzzed < operations ?? .max {
          fuzz(seed: nextSeed(), seconds: min(5, max(1, end - now())), operations: operations.map { $0 - fuzzed })
        }
        if fuzzed >= operations ?? .max { rest.remove(.fuzz) }
      }
      if parts.contains(.kill) { kills(8) }
      if parts.contains(.signals) { signals(6) }
      if parts.contains(.orders) { orders(6) }
      // A limit on operations is one for everything else, too.
      if operations != nil, !rest.contains(.fuzz) { break }
    }
  }

  private var fuzzed: Int { counts.first { $0.name == "operations" }?.number ?? 0 }

  // MARK: Parts

  func fuzz(seed: UInt64, seconds: Double, operations: Int?) {
    let round = FuzzRound(stage, seed: seed)
    step("fuzz --round \(seed): \(round.description)") {
      try round.run(seconds: seconds, operations: operations)
      count("operations", round.operations)
      count("resizes", round.pauses)
      count("rounds", 1)
      return "\(round.operations) operations, \(round.pauses) resizes"
    }
  }

  private func kills(_ number: Int) {
    let kills = Kills(stage, seed: nextSeed())
    step("kill") {
      try kills.run(number)
      count("kills", number)
      return "\(number) kills"
    }
  }

  private func signals(_ number: Int) {
    let signals = Signals(stage, seed: nextSeed())
    step("signals") {
      try signals.run(number)
      count("signalled ends", number)
      return "\(number) ends while busy, 1 while held open, 1 over a stopped mount"
    }
  }

  private func orders(_ number: Int) {
    let orders = Orders(stage, seed: nextSeed())
    step("orders") {
      try orders.run(number)
      count("orders of the end", number)
      return "\(number) orders"
    }
  }

  private func memory(limit: Int, written: Int) {
    for directIO in [false, true] {
      for who in SmallMemory.Who.allCases {
        let what = "direct-io=\(directIO ? "on" : "off"), \(who.rawValue) limited"
        step("memory: \(written >> 20) MiB within \(limit >> 20) MiB, \(what)") {
          let memory = SmallMemory(stage, limit: limit, written: written)
          let told = try memory.run(directIO: directIO, limiting: who)
          count("MiB in little memory", written >> 20)
          return told
        }
      }
    }
  }

  private func flat(opens: Int, requests: Int) {
    step("flat: \(opens) opens, \(requests) requests") {
      let told = try Flatness(stage).run(opens: opens, requests: requests)
      count("opens", opens)
      count("requests", requests)
      return told
    }
  }

  /// A step's failure is told and counted, and does not keep the others from running.
  private func step(_ name: String, _ body: () throws -> String) {
    if !isQuiet { tell(name) }
    let start = now()
    do {
      let told = try body()
      if !isQuiet { tell("  \(told), \(rounded(now() - start)) s") }
    } catch let skip as Skip {
      if !isQuiet { tell("  SKIPPED: \(skip.description)") }
      skipped.insert(skip.description)
    } catch {
      fail(name, "\(error)")
    }
    let leftovers = stage.clear()
    if !leftovers.isEmpty, failures.isEmpty { fail(name, "left \(leftovers.joined(separator: ", "))") }
  }

  private func fail(_ name: String, _ reason: String) {
    tell("\(isQuiet ? name : " ") FAILED: \(reason)")
    failures.append("\(name): \(reason)")
  }

  private func count(_ name: String, _ number: Int) {
    if let index = counts.firstIndex(where: { $0.name == name }) {
      counts[index].number += number
    } else {
      counts.append((name, number))
    }
  }

  func summarise() {
    let numbers = counts.map { "\($0.number) \($0.name)" }.joined(separator: ", ")
    tell("cowsoak: seed \(seed), \(rounded(now() - begin)) s: \(numbers)")
    for reason in skipped.sorted() { tell("cowsoak: skipped: \(reason)") }
    tell(failures.isEmpty ? "cowsoak: no failure" : "cowsoak: \(failures.count) FAILURES")
  }

  private func rounded(_ seconds: Double) -> Double { (seconds * 10).rounded() / 10 }
}

/// Something that this machine cannot do.
struct Skip: Error {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}

/// Writes a line to standard output at once, wherever that goes.
func tell(_ line: String) {
  var text = line + "\n"
  text.withUTF8 { _ = write(STDOUT_FILENO, $0.baseAddress, $0.count) }
}
