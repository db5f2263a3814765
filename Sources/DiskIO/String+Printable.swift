// Text from outside, on its way to a terminal or a log: names of files, partitions, exports and mounts, and what servers say.
// Whatever writes a line for people makes it printable there, so that nobody who puts a name into it has to think of it.

extension String {
  /// The text without what could steer a terminal or begin a new line.
  public var printable: String {
    // Nearly all text.
    if utf8.allSatisfy({ 0x20..<0x7F ~= $0 }) { return self }
    var printable = ""
    for scalar in unicodeScalars {
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned:
        printable.unicodeScalars.append(scalar == "\t" ? " " : "\u{FFFD}")
      default: printable.unicodeScalars.append(scalar)
      }
    }
    return printable
  }
}
