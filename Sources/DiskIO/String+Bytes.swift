// File names are bytes, and need not be UTF-8; command lines, options and messages are strings. A byte that is part of no
// character is carried through them as a scalar that no text has (of the last 128 for private use), and is a byte again where
// a name is handed to the system. Where a line is printed for people, such a scalar is a replacement character
// (``Swift/String/printable``).

public import SystemPackage

extension String {
  /// The scalars that stand for the bytes 0x80 to 0xFF.
  private static let carriers: ClosedRange<UInt32> = 0x10_FF80...0x10_FFFF

  /// Takes any bytes without a NUL. Text that has one of the carrying scalars is carried byte by byte itself.
  public init(carrying bytes: some Collection<UInt8>) {
    if let text = String(validating: bytes, as: UTF8.self), !text.unicodeScalars.contains(where: Self.isCarrier) {
      self = text
      return
    }
    self.init()
    var rest = Array(bytes)[...]
    while let first = rest.first {
      let character = (1...4).lazy.compactMap { String(validating: rest.prefix($0), as: UTF8.self) }.first
      if let character, let scalar = character.unicodeScalars.first, !Self.isCarrier(scalar) {
        unicodeScalars.append(scalar)
        rest = rest.dropFirst(String(scalar).utf8.count)
      } else {
        if let carrier = Unicode.Scalar(0x10_FF00 + UInt32(first)) { unicodeScalars.append(carrier) }
        rest = rest.dropFirst()
      }
    }
  }

  private static func isCarrier(_ scalar: Unicode.Scalar) -> Bool { carriers.contains(scalar.value) }

  /// The bytes that the text stands for.
  public var carriedBytes: [UInt8] {
    unicodeScalars.flatMap { scalar in
      Self.isCarrier(scalar) ? [UInt8(truncatingIfNeeded: scalar.value)] : Array(String(scalar).utf8)
    }
  }

  /// Calls `body` with the bytes that the text stands for, as a C string.
  public func withCarriedCString<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
    (carriedBytes.map { CChar(bitPattern: $0) } + [0]).withUnsafeBufferPointer { bytes in
      guard let start = bytes.baseAddress else { preconditionFailure("it has a NUL at least") }
      return body(start)
    }
  }
}

extension FilePath {
  /// The path whose bytes a text stands for.
  public init(carriedBy text: String) {
    self = text.withCarriedCString { FilePath(platformString: $0) }
  }

  /// The path as a text that stands for all of its bytes.
  public var carrier: String {
    withPlatformString { path in
      String(carrying: UnsafeBufferPointer(start: path, count: length).map { UInt8(bitPattern: $0) })
    }
  }

  /// Whether these bytes are the name of something in a directory.
  public static func isFileName(_ bytes: some Collection<UInt8>) -> Bool {
    // In bytes: a slash with an accent behind it is a slash to the kernel.
    (1...255).contains(bytes.count) && !bytes.contains(UInt8(ascii: "/")) && !bytes.contains(0)
      && !bytes.elementsEqual(".".utf8) && !bytes.elementsEqual("..".utf8)
  }
}
