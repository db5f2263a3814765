// What libFuzzer calls, again and again, with bytes that it thinks of. The first byte says which parser gets the others. A
// parser may refuse them, or take them and keep what its comment promises; a trap is a find.

/// libFuzzer's way in.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  var input = Input(UnsafeRawBufferPointer(start: start, count: count))
  switch input.byte() % 8 {
  case 0: fuzzByteSize(&input)
  case 1: fuzzMountOptions(&input)
  case 2: fuzzMountTable(&input)
  case 3: fuzzGeometry(&input)
  case 4: fuzzWindow(&input)
  case 5: fuzzTables(&input)
  default: fuzzCompressed(&input)
  }
  return 0
}

/// Bytes to be taken one thing after the other; zeros when there are no more.
struct Input {
  private var rest: UnsafeRawBufferPointer.SubSequence

  init(_ bytes: UnsafeRawBufferPointer) {
    rest = bytes[...]
  }

  mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

  mutating func number() -> UInt64 { (0..<8).reduce(0) { value, _ in value << 8 | UInt64(byte()) } }

  /// All that is left.
  mutating func bytes() -> [UInt8] {
    defer { rest = rest[rest.endIndex...] }
    return Array(rest)
  }

  /// All that is left, as text.
  mutating func text() -> String { String(decoding: bytes(), as: UTF8.self) }
}

/// Ends the process where something is not as it was promised.
func require(_ condition: Bool, _ what: @autoclosure () -> String) {
  if !condition { fatalError(what()) }
}
