// What libFuzzer calls, again and again, with bytes that it thinks of. A parser may refuse them, or take them and keep what
// its comments promise; a trap, an error of the address sanitizer and a broken promise are finds.

internal import Glibc

/// Everything that reads bytes from outside, by the name that COWFUZZ_TARGET chooses. A new parser gets a line here, and
/// something to begin with in run.sh.
private let targets: [(name: String, parse: @Sendable (inout Input) -> Void)] = [
  ("size", fuzzByteSize),
  ("options", fuzzMountOptions),
  ("mounts", fuzzMountTable),
  ("control", fuzzControl),
  ("json", fuzzJSON),
  ("geometry", fuzzGeometry),
  ("window", fuzzWindow),
  ("mbr", fuzzBootRecords),
  ("gpt", fuzzGuidTables),
  ("probe", fuzzProbe),
  ("disk", fuzzVirtualDisk),
  ("xz", fuzzXz),
  ("zstd", fuzzZstd),
  ("gzip", fuzzGzip),
  ("nbd", fuzzNbdNames),
  ("extents", fuzzNbdExtents),
]

private let parse: @Sendable (inout Input) -> Void = {
  let name = getenv("COWFUZZ_TARGET").map { String(cString: $0) } ?? ""
  if let target = targets.first(where: { $0.name == name }) { return target.parse }
  print(targets.map(\.name).joined(separator: " "))
  exit(name.isEmpty ? 0 : 64)
}()

/// Called once, before anything else. Without a target, or with a wrong one, the process tells which there are, and ends.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(_: UnsafeMutableRawPointer?, _: UnsafeMutableRawPointer?) -> CInt {
  _ = parse
  return 0
}

/// Called for each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  var input = Input(UnsafeRawBufferPointer(start: start, count: count))
  parse(&input)
  return 0
}

/// Bytes to be taken one thing after the other; zeros when there are no more.
struct Input {
  private var rest: UnsafeRawBufferPointer.SubSequence

  init(_ bytes: UnsafeRawBufferPointer) {
    rest = bytes[...]
  }

  var isEmpty: Bool { rest.isEmpty }

  mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

  /// A little-endian number of so many bytes.
  mutating func number(_ count: Int = 8) -> UInt64 {
    (0..<count).reduce(0) { value, place in value | UInt64(byte()) << (8 * UInt64(place)) }
  }

  /// So many bytes, or what is left.
  mutating func bytes(_ count: Int = .max) -> [UInt8] {
    let taken = rest.prefix(count)
    rest = rest.dropFirst(count)
    return Array(taken)
  }

  /// All that is left, as text.
  mutating func text() -> String { String(decoding: bytes(), as: UTF8.self) }
}

/// Ends the process where something is not as it was promised.
@inline(__always)
func require(_ condition: Bool, _ what: @autoclosure () -> String) {
  // Whatever bytes it has, it is one line of text.
  if !condition { fatalError(what().unicodeScalars.map { $0.escaped(asASCII: true) }.joined()) }
}
