// What differs from the base, as many runs at a time as an answer has room for.

/// Bytes of the disk that are not the base's any more.
public struct DiskChange: Equatable, Sendable {
  /// What became of them.
  public enum Kind: UInt8, Sendable, MessageValue {
    /// Something was written.
    case written = 1
    /// They read as zeros, and take no space.
    case zeroed = 2
  }

  /// Which bytes; never empty.
  public var bytes: Range<UInt64>
  /// What became of them.
  public var kind: Kind

  /// Creates a change.
  public init(_ bytes: Range<UInt64>, _ kind: Kind) {
    self.bytes = bytes
    self.kind = kind
  }
}

/// A part of the changes, in the disk's order.
public struct ChangePage: Equatable, Sendable {
  /// Some changes; neighbours may be of one kind.
  public var changes: [DiskChange]
  /// Where to go on; nil where there are no more.
  public var next: UInt64?

  /// Most changes of a page.
  public static let limit = 900

  /// Creates a page.
  public init(_ changes: [DiskChange], next: UInt64?) {
    self.changes = changes
    self.next = next
  }
}

extension ChangePage: MessageValue {
  init(from message: inout MessageReader) throws(MalformedMessage) {
    next = try message.optional { (message) throws(MalformedMessage) in try message.number() }
    changes = try message.list(limit: Self.limit) { (message) throws(MalformedMessage) in
      let start: UInt64 = try message.number()
      let length: UInt64 = try message.number()
      let (end, overflow) = start.addingReportingOverflow(length)
      guard length > 0, !overflow, end <= Int64.max else { throw MalformedMessage() }
      return DiskChange(start..<end, try DiskChange.Kind(from: &message))
    }
  }

  func add(to message: inout MessageWriter) {
    message.add(next)
    message.add(changes, limit: Self.limit) { message, change in
      message.add(change.bytes.lowerBound)
      message.add(change.bytes.upperBound - change.bytes.lowerBound)
      message.add(change.kind)
    }
  }

  /// Whether it can be what follows `offset`: in order, and on its way.
  func follows(_ offset: UInt64) -> Bool {
    var position = offset
    for change in changes {
      guard change.bytes.lowerBound >= position else { return false }
      position = change.bytes.upperBound
    }
    guard let next else { return true }
    return next >= position && next > offset && next <= Int64.max
  }
}
