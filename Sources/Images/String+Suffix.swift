// What the endings of file names tell.

extension String {
  /// Whether it ends with `suffix`, which is lower case, in whatever case of ASCII letters.
  package func endsIgnoringCase(with suffix: String) -> Bool {
    utf8.suffix(suffix.utf8.count).elementsEqual(suffix.utf8) { $0 == $1 || $0 | 0x20 == $1 && $1 >= 0x61 }
  }

  /// The name without the first of these suffixes that it ends with; nil where it ends with none, or is nothing else.
  package func droppingSuffix(among suffixes: [String]) -> String? {
    guard let suffix = suffixes.first(where: { endsIgnoringCase(with: $0) && utf8.count > $0.utf8.count }) else {
      return nil
    }
    return String(decoding: utf8.dropLast(suffix.utf8.count), as: UTF8.self)
  }
}
