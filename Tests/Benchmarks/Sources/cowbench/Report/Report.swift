// A finished run with what is needed to understand it, in its three forms: text, Markdown, JSON.

struct Report {
  let results: Results
  let host: Host
  let commandLine: String
  let scale: Scale
  let rounds: Int
  let isQuick: Bool
  let versions: [(name: String, version: String)]
  /// Contenders that did not take part, each with the reason.
  let leftOut: [String]
  let duration: Duration

  /// What must be said beside the figures.
  private var remarks: [String] {
    var lines = leftOut.map { "left out: " + $0 }
    lines += results.failures.map { "fails: " + $0 }
    if isQuick { lines.append("a quick run: it shows that everything works, its figures say little") }
    if host.givesMemoryBack {
      lines.append(
        "this guest gives free memory back to its host: pages taken anew are slow, and figures vary with them")
    }
    return lines
  }

  private var summary: [String] {
    [
      commandLine,
      host.line,
      "\(sizeText(scale.size)) of a base of \(sizeText(scale.size * 2)), median of \(rounds) "
        + (rounds == 1 ? "round" : "rounds") + "; a ratio above 1 means that cowmount is ahead",
    ]
  }

  var text: String {
    let versions = versions.map { "\($0.name): \($0.version)" }
    return [summary + versions, [""], [Table(results).text], [""], remarks].joined().joined(separator: "\n")
  }

  var markdown: String {
    let remarks = remarks.map { "- " + $0 }
    let versions = versions.map { "- \($0.name): \($0.version)" }
    let head = ["```", "$ " + summary[0], "```", "", summary[1] + ". " + summary[2] + ".", ""]
    return (head + [Table(results).markdown, ""] + versions + remarks).joined(separator: "\n")
  }

  var json: JSON {
    .object([
      ("command", .text(commandLine)),
      (
        "machine",
        .object([
          ("processor", .text(host.processor)), ("processors", .number(Double(host.processors))),
          ("memory_gib", .number(Double(host.memory))), ("kernel", .text(host.kernel)),
          ("file_system", .text(host.fileSystem)),
        ])
      ),
      ("versions", .object(versions.map { ($0.name, .text($0.version)) })),
      ("size", .number(Double(scale.size))),
      ("rounds", .number(Double(rounds))),
      ("seconds", .number(duration / .seconds(1))),
      ("remarks", .list(remarks.map { .text($0) })),
      ("rows", .list(results.rows.map(rowJSON))),
    ])
  }

  private func rowJSON(_ row: Row) -> JSON {
    let cells: [(String, JSON)] = results.contenders.compactMap { contender in
      guard let cell = results.cell(row, contender) else { return nil }
      return (
        contender,
        .object([
          ("median", .optional(cell.median)), ("samples", .list(cell.samples.map { .number($0) })),
          ("failures", .list(cell.failures.map { .text($0) })),
        ])
      )
    }
    let best = results.bestRival(row)
    return .object([
      ("id", .text(row.id)), ("title", .text(row.title)), ("unit", .text(row.unit.rawValue)),
      ("better", .text(row.higherIsBetter ? "higher" : "lower")),
      ("results", .object(cells)),
      ("ratio_to_plain", .optional(results.ratio(row, against: reference))),
      ("best_rival", best.map { .text($0) } ?? .null),
      ("ratio_to_best_rival", .optional(best.flatMap { results.ratio(row, against: $0) })),
    ])
  }
}
