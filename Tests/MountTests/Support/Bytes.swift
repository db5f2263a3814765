// Comparing many bytes, with a message that says where they differ instead of printing them all.

import Glibc
import Testing

/// Checks that bytes read at `offset` are what they should be.
func expect(
  _ actual: [UInt8], equals expected: [UInt8], at offset: Int = 0, _ comment: String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) {
  guard actual.count == expected.count else {
    let message = "\(actual.count) bytes at \(offset) instead of \(expected.count) \(comment)"
    Issue.record("\(message)", sourceLocation: sourceLocation)
    return
  }
  guard memcmp(actual, expected, actual.count) != 0 else { return }
  let place = zip(actual, expected).enumerated().first { $1.0 != $1.1 }
  if let (index, (found, wanted)) = place {
    Issue.record(
      "byte \(offset + index) (\(index) of \(actual.count)) is \(found) instead of \(wanted) \(comment)",
      sourceLocation: sourceLocation)
  }
}

/// Checks a range of a file.
func expect(
  _ file: TestFile, at offset: Int, holds expected: [UInt8], _ comment: String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let actual = try file.read(expected.count, at: offset)
  expect(actual, equals: expected, at: offset, comment, sourceLocation: sourceLocation)
}

/// Checks that a range of a file still shows the image's pattern.
func expectBase(
  _ file: TestFile, _ range: Range<Int>, _ comment: String = "", sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let expected = Image.content.bytes(range.count, at: range.lowerBound)
  try expect(file, at: range.lowerBound, holds: expected, comment, sourceLocation: sourceLocation)
}

/// Checks that a range of a file is zeros.
func expectZeros(
  _ file: TestFile, _ range: Range<Int>, _ comment: String = "", sourceLocation: SourceLocation = #_sourceLocation
) throws {
  try expect(file, at: range.lowerBound, holds: zeros(range.count), comment, sourceLocation: sourceLocation)
}
