// Sizes as users write them.

/// A number of bytes, written with or without a binary suffix: `512`, `64k`, `4M`, `20GiB`, `15T`.
struct ByteSize: Equatable, CustomStringConvertible {
  let bytes: UInt64

  init(bytes: UInt64) {
    self.bytes = bytes
  }

  private static let suffixes = "kmgtpe"

  /// Takes a decimal number and at most one of k, M, G, T, P and E, in either case and with or without `iB` behind it:
  /// powers of 1024.
  init?(argument: String) {
    var digits = Substring(argument)
    var shift = 0
    // 64KiB, and not 64iB: there must be a letter in front of it.
    if digits.lowercased().hasSuffix("ib"), let letter = digits.dropLast(2).last, letter.isLetter {
      digits.removeLast(2)
    }
    if let last = digits.last, let index = Self.suffixes.firstIndex(of: Character(last.lowercased())) {
      shift = 10 * (Self.suffixes.distance(from: Self.suffixes.startIndex, to: index) + 1)
      digits.removeLast()
    }
    guard digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
      let number = UInt64(digits), number <= UInt64(Int64.max) >> shift
    else { return nil }
    bytes = number << shift
  }

  var description: String {
    var rest = bytes
    var suffix = ""
    for next in Self.suffixes where rest >= 1024 && rest % 1024 == 0 {
      rest /= 1024
      suffix = String(next)
    }
    return "\(rest)\(suffix == "k" ? suffix : suffix.uppercased())"
  }
}
