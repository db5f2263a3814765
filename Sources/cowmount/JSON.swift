// Answers for programs.

/// A value to print as JSON.
enum JSON {
  case null
  case bool(Bool)
  case number(UInt64)
  case string(String)
  case array([JSON])
  /// Members in the order that is printed.
  case object([(String, JSON)])

  /// The text, in lines, indented.
  var text: String { text(indented: "") }

  private func text(indented indent: String) -> String {
    switch self {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .number(let value): String(value)
    case .string(let value): Self.quote(value)
    case .array(let values):
      Self.list("[", values.map { $0.text(indented: indent + "  ") }, "]", indent)
    case .object(let members):
      Self.list("{", members.map { Self.quote($0) + ": " + $1.text(indented: indent + "  ") }, "}", indent)
    }
  }

  private static func list(_ start: String, _ items: [String], _ end: String, _ indent: String) -> String {
    items.isEmpty
      ? start + end
      : start + "\n" + items.map { indent + "  " + $0 }.joined(separator: ",\n") + "\n" + indent + end
  }

  private static func quote(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": quoted += "\\\(scalar)"
      case "\n": quoted += "\\n"
      case "\t": quoted += "\\t"
      case _ where scalar.properties.generalCategory == .control:
        let digits = String(scalar.value, radix: 16)
        quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }
}
