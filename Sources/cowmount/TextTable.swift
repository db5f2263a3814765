// Answers for people: columns.

internal import DiskIO

enum TextTable {
  /// The lines of a table, columns padded with blanks. Cells are made printable.
  ///
  /// - Parameter rightAligned: the columns that have numbers.
  static func lines(_ head: [String], _ rows: [[String]], rightAligned: Set<Int>) -> [String] {
    let rows = ([head] + rows).map { $0.map(\.printable) }
    let widths = head.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let cells = row.indices.map { column in
        let padding = String(repeating: " ", count: widths[column] - row[column].count)
        return rightAligned.contains(column) ? padding + row[column] : row[column] + padding
      }
      let line = cells.joined(separator: "  ")
      return line.lastIndex { $0 != " " }.map { String(line[...$0]) } ?? ""
    }
  }
}
