// The checkpoints of a mount, as many at a time as an answer has room for.

/// A part of the checkpoints, the oldest first.
public struct CheckpointPage: Equatable, Sendable {
  /// A checkpoint.
  public struct Entry: Equatable, Sendable {
    /// What it is called.
    public var name: CheckpointName
    /// Bytes of the disk then.
    public var size: UInt64
    /// Bytes that were written until then.
    public var written: UInt64
    /// Whole seconds since it was made.
    public var age: UInt64
    /// Whether the disk lies on it now.
    public var isBelow: Bool

    /// Creates an entry.
    public init(name: CheckpointName, size: UInt64, written: UInt64, age: UInt64, isBelow: Bool) {
      self.name = name
      self.size = size
      self.written = written
      self.age = age
      self.isBelow = isBelow
    }
  }

  /// Some checkpoints.
  public var entries: [Entry]
  /// Whether there are more after these.
  public var hasMore: Bool

  /// Most checkpoints of a page.
  public static let limit = 64

  /// Creates a page.
  public init(_ entries: [Entry], hasMore: Bool) {
    self.entries = entries
    self.hasMore = hasMore
  }
}

extension CheckpointPage: MessageValue {
  init(from message: inout MessageReader) throws(MalformedMessage) {
    hasMore = try message.flag()
    entries = try message.list(limit: Self.limit) { (message) throws(MalformedMessage) in
      Entry(
        name: try CheckpointName(from: &message), size: try message.number(), written: try message.number(),
        age: try message.number(), isBelow: try message.flag())
    }
  }

  func add(to message: inout MessageWriter) {
    message.add(hasMore)
    message.add(entries, limit: Self.limit) { message, entry in
      message.add(entry.name)
      message.add(entry.size)
      message.add(entry.written)
      message.add(entry.age)
      message.add(entry.isBelow)
    }
  }
}
