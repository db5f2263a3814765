// cowbench: cowmount beside the plain file and its rivals, in one run.

import ArgumentParser
import Glibc
import SystemPackage

/// The command line of the comparison.
///
/// ## Method
///
/// Every figure comes from outside: a contender turns a read-only base into a writable file, and fio, tar and the
/// like work on that file as on any other. A *contender* (folder Contenders) is one small class that knows how a
/// program is driven; a *workload* (folder Workloads) knows only the file it is given. The fio rows are a table of
/// values, Workloads/FioTable.swift.
///
/// Rounds are interleaved: each round goes through all workloads, and each workload through all contenders one right
/// after the other, in an order that changes. What drifts (the disk, the host, the heat) then hits everybody alike. A
/// row shows the median of its rounds; `--json` keeps every sample. Rows about space and about
/// many mounts are measured in the first round only.
///
/// Each measurement has a fresh exposure with an empty overlay, taken down right after. Rows about blocks already
/// written lay them out first, outside the clock. The plain file is a real copy; it is made once and written over,
/// which moves none of its blocks (see PlainFile).
///
/// Three states of the page cache: *cold* (everything written back and dropped), *warm* (the exposed file was read
/// through once, by another open than the one measured), and for writes and direct I/O *base warm* (the base is in
/// the cache, nothing of the exposed file is). So the disk counts in cold rows and where something is flushed to it:
/// an fsync of the plain file means it, an overlay that nobody needs after a crash has no reason to. Rivals are
/// given what makes them best by their own documentation where that is what their users would do; each says so.
///
/// It needs root: for the cache, for loop devices, and because some rivals mount only as root. It mounts nothing
/// outside its own folder under `--directory`, and ends no process but those it started. An interrupt takes
/// everything down first. About 25 minutes for a whole run on two processors.
@main
struct CowBench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cowbench",
    abstract: "Compare cowmount with a plain file and with other ways to write to a read-only image.")

  @Option(name: .long, help: "How often each workload is measured.")
  var rounds = 3

  @Option(name: .long, help: "Only workloads whose name matches or contains PATTERN. May be given several times.")
  var only: [String] = []

  @Option(name: .long, help: "Contenders, with commas between them; see --list for all of them.")
  var contenders = defaultContenders.joined(separator: ",")

  @Option(name: .long, help: "The size worked on, such as 256M or 1G; the base has twice that.")
  var size: Size?

  @Flag(name: .long, help: "One short round of 256 MiB, to see that everything works.")
  var quick = false

  @Option(name: .long, help: "The cowmount to measure.")
  var cowmount = "cowmount"

  @Option(name: .long, help: "Where bases and overlays go: a disk, with six times the size free.")
  var directory = "/var/tmp"

  @Flag(name: .long, help: "Print the table as Markdown.")
  var markdown = false

  @Option(name: .long, help: "Write every sample to FILE.")
  var json: String?

  @Flag(name: .long, help: "List workloads and contenders, and end.")
  var list = false

  func validate() throws {
    if rounds < 1 { throw ValidationError("--rounds must be at least 1.") }
  }

  func run() async throws {
    try await Run(options: self).start()
  }
}

/// A size with a unit, K to T, by powers of 1024. At least 16 MiB: below that, start-up is all that is measured.
nonisolated struct Size: ExpressibleByArgument {
  let bytes: Int64

  init(bytes: Int64) {
    self.bytes = bytes
  }

  init?(argument: String) {
    let shifts: [Character: Int64] = ["K": 10, "M": 20, "G": 30, "T": 40]
    let unit = argument.uppercased().last.flatMap { shifts[$0] }
    guard let number = Int64(unit == nil ? argument : String(argument.dropLast())), number > 0,
      number < 1 << 20
    else { return nil }
    bytes = number << (unit ?? 0)
    // Whole MiB, because sequential rows go in such steps.
    if bytes < 16 << 20 || bytes % (1 << 20) != 0 { return nil }
  }
}
