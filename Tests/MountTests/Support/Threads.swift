// What threads find wrong: it is thrown, not recorded, because an issue recorded there belongs to no test.

/// Bytes are not what they should be.
struct WrongBytes: Error, CustomStringConvertible {
  let description: String

  /// Throws where a range of a file does not hold `expected`.
  static func check(_ file: TestFile, at offset: Int, holds expected: [UInt8], _ comment: String) throws {
    let found = try file.read(expected.count, at: offset)
    guard found != expected else { return }
    let place = zip(found, expected).enumerated().first { $1.0 != $1.1 }?.offset ?? min(found.count, expected.count)
    throw WrongBytes(description: "byte \(offset + place) is wrong, \(comment)")
  }
}
