// The table for people: aligned text, or Markdown for the README.

struct Table {
  let head: [String]
  let lines: [[String]]

  /// Medians by contender, then how cowmount stands to the plain file and to the best rival.
  init(_ results: Results) {
    let compares = results.contenders.contains(subject)
    let againstPlain = compares && results.contenders.contains(reference)
    let againstRivals = compares && results.contenders.contains { $0 != subject && $0 != reference }
    head =
      ["workload", "unit"] + results.contenders + (againstPlain ? ["to plain"] : [])
      + (againstRivals ? ["to best rival"] : [])
    lines = results.rows.map { row in
      let values = results.contenders.map { contender in
        Table.text(results.cell(row, contender), digits: row.unit.digits)
      }
      let plain = results.ratio(row, against: reference).map { fixed($0, digits: 2) } ?? "–"
      let rival = results.bestRival(row).flatMap { name in
        results.ratio(row, against: name).map { "\(fixed($0, digits: 2)) (\(name))" }
      }
      return [row.title, row.unit.rawValue] + values + (againstPlain ? [plain] : [])
        + (againstRivals ? [rival ?? "–"] : [])
    }
  }

  private static func text(_ cell: Results.Cell?, digits: Int) -> String {
    guard let cell else { return "–" }
    return cell.median.map { fixed($0, digits: digits) } ?? "fails"
  }

  /// Columns side by side, figures to the right.
  var text: String {
    let all = [head] + lines
    let widths = head.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    return all.map { line in
      let cells = line.indices.map { column in
        let space = String(repeating: " ", count: widths[column] - line[column].count)
        return column < 2 ? line[column] + space : space + line[column]
      }
      return cells.joined(separator: "  ").trimmedRight
    }.joined(separator: "\n")
  }

  var markdown: String {
    let rule = head.indices.map { $0 < 2 ? "---" : "---:" }
    return ([head, rule] + lines).map { "| " + $0.joined(separator: " | ") + " |" }.joined(separator: "\n")
  }
}

/// A number with a fixed count of digits after the point.
func fixed(_ value: Double, digits: Int) -> String {
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  let scaled = (value * scale).rounded()
  guard scaled.isFinite, abs(scaled) < 1e15 else { return "\(value)" }
  let whole = Int64(abs(scaled))
  let sign = scaled < 0 ? "-" : ""
  guard digits > 0 else { return sign + String(whole) }
  let text = String(repeating: "0", count: max(0, digits + 1 - String(whole).count)) + String(whole)
  return sign + text.dropLast(digits) + "." + text.suffix(digits)
}

extension String {
  fileprivate var trimmedRight: String {
    var text = self
    while text.last == " " { text.removeLast() }
    return text
  }
}
