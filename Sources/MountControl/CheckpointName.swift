// What a checkpoint may be called. It becomes part of a file's name, behind an @.

/// The name of a checkpoint.
public struct CheckpointName: Hashable, Sendable, CustomStringConvertible {
  /// The name, as it was given.
  public let description: String

  /// Most bytes.
  public static let longest = 200

  /// Takes a name of 1 to ``longest`` bytes that has no slash, no @, no control character and none for private use, and is not
  /// `.` or `..`.
  ///
  /// - Returns: nil where it may not be called that.
  public init?(_ name: String) {
    self.init(bytes: Array(name.utf8))
  }

  init?(bytes: [UInt8]) {
    guard (1...Self.longest).contains(bytes.count), let name = String(validating: bytes, as: UTF8.self),
      name != ".", name != "..", !bytes.contains(UInt8(ascii: "/")), !bytes.contains(UInt8(ascii: "@")),
      // With the carriers that stand for bytes of no character: a file is not to be called what nobody can type.
      name.unicodeScalars.allSatisfy({
        ![.control, .privateUse].contains($0.properties.generalCategory) && !$0.properties.isNoncharacterCodePoint
      })
    else { return nil }
    description = name
  }
}

extension CheckpointName: MessageValue {
  init(from message: inout MessageReader) throws(MalformedMessage) {
    let bytes = try message.bytes(limit: Self.longest)
    guard let name = CheckpointName(bytes: bytes) else { throw MalformedMessage() }
    self = name
  }

  func add(to message: inout MessageWriter) { message.add(description, limit: Self.longest) }
}
