// A run as JSON, every sample included. Written by hand: an encoder would bring Foundation along.

indirect enum JSON {
  case text(String)
  case number(Double)
  case list([JSON])
  /// Fields keep the order they are given in.
  case object([(String, JSON)])
  case null

  static func optional(_ value: Double?) -> JSON { value.map { .number($0) } ?? .null }

  /// Indented by two spaces; a list of numbers stays on its line.
  func written(indent: Int = 0) -> String {
    let inner = String(repeating: " ", count: indent + 2)
    let outer = String(repeating: " ", count: indent)
    switch self {
    case .null: return "null"
    case .text(let text): return JSON.quoted(text)
    case .number(let number): return JSON.literal(number)
    case .list(let items):
      if items.allSatisfy(\.isNumber) { return "[" + items.map { $0.written() }.joined(separator: ", ") + "]" }
      return "[\n" + items.map { inner + $0.written(indent: indent + 2) }.joined(separator: ",\n") + "\n\(outer)]"
    case .object(let fields):
      if fields.isEmpty { return "{}" }
      let lines = fields.map { inner + JSON.quoted($0.0) + ": " + $0.1.written(indent: indent + 2) }
      return "{\n" + lines.joined(separator: ",\n") + "\n\(outer)}"
    }
  }

  private var isNumber: Bool {
    if case .number = self { return true }
    return false
  }

  /// Whole numbers without a point; what JSON cannot say (infinity, not a number) as null.
  private static func literal(_ number: Double) -> String {
    guard number.isFinite else { return "null" }
    if let whole = Int64(exactly: number) { return String(whole) }
    return "\(number)"
  }

  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
