// Values to bytes and back. What is read is checked: bytes that are no such value are an error and nothing else.

internal import DiskIO

/// Bytes that are not what they should be.
struct MalformedMessage: Error, Equatable {}

/// A value that is sent.
protocol MessageValue {
  /// Takes it from a message.
  init(from message: inout MessageReader) throws(MalformedMessage)
  /// Adds it to a message.
  func add(to message: inout MessageWriter)
}

/// Puts a payload together.
struct MessageWriter {
  private(set) var bytes: [UInt8] = []

  mutating func add<Number: FixedWidthInteger>(_ number: Number) {
    withUnsafeBytes(of: number.littleEndian) { bytes += $0 }
  }

  mutating func add(_ flag: Bool) { add(flag ? 1 : 0 as UInt8) }

  mutating func add(_ value: some MessageValue) { value.add(to: &self) }

  /// Adds at most `limit` bytes of a text.
  mutating func add(_ text: String, limit: Int = MessageReader.longestText) {
    let cut = Array(text.utf8.prefix(limit))
    add(UInt16(cut.count))
    bytes += cut
  }

  mutating func add<Value>(_ value: Value?, _ add: (inout MessageWriter, Value) -> Void) {
    self.add(value != nil)
    if let value { add(&self, value) }
  }

  mutating func add(_ value: (some MessageValue)?) { add(value) { $0.add($1) } }

  mutating func add(_ number: UInt64?) { add(number) { $0.add($1) } }

  /// Adds the first values of a list, at most `limit`.
  mutating func add<Value>(_ values: [Value], limit: Int, _ add: (inout MessageWriter, Value) -> Void) {
    let cut = values.prefix(limit)
    self.add(UInt16(cut.count))
    for value in cut { add(&self, value) }
  }
}

/// Takes a payload apart.
struct MessageReader {
  private var rest: ArraySlice<UInt8>

  /// Most bytes of a text.
  static let longestText = 4096

  init(_ bytes: [UInt8]) {
    rest = bytes[...]
  }

  /// Throws where something is left over.
  func end() throws(MalformedMessage) {
    if !rest.isEmpty { throw MalformedMessage() }
  }

  mutating func number<Number: FixedWidthInteger>() throws(MalformedMessage) -> Number {
    try take(MemoryLayout<Number>.size).reversed().reduce(0) { $0 << 8 | Number(truncatingIfNeeded: $1) }
  }

  mutating func flag() throws(MalformedMessage) -> Bool {
    let byte: UInt8 = try number()
    guard byte <= 1 else { throw MalformedMessage() }
    return byte == 1
  }

  /// A text, made printable: it may come from somebody who wants to steer the reader's terminal.
  mutating func text() throws(MalformedMessage) -> String {
    let count: UInt16 = try number()
    guard count <= Self.longestText else { throw MalformedMessage() }
    return String(decoding: try take(Int(count)), as: UTF8.self).printable
  }

  mutating func optional<Value>(
    _ read: (inout MessageReader) throws(MalformedMessage) -> Value
  ) throws(MalformedMessage) -> Value? {
    try flag() ? try read(&self) : nil
  }

  mutating func list<Value>(
    limit: Int, _ read: (inout MessageReader) throws(MalformedMessage) -> Value
  ) throws(MalformedMessage) -> [Value] {
    let count: UInt16 = try number()
    guard count <= limit else { throw MalformedMessage() }
    var values: [Value] = []
    for _ in 0..<count { values.append(try read(&self)) }
    return values
  }

  private mutating func take(_ count: Int) throws(MalformedMessage) -> ArraySlice<UInt8> {
    guard count <= rest.count else { throw MalformedMessage() }
    defer { rest = rest.dropFirst(count) }
    return rest.prefix(count)
  }
}

extension MessageValue where Self: RawRepresentable, RawValue == UInt8 {
  init(from message: inout MessageReader) throws(MalformedMessage) {
    let number: UInt8 = try message.number()
    guard let value = Self(rawValue: number) else { throw MalformedMessage() }
    self = value
  }

  func add(to message: inout MessageWriter) { message.add(rawValue) }
}
