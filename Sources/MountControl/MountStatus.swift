// All about one mount.

/// What a mount is, and what it did so far.
public struct MountStatus: Equatable, Sendable {
  /// The process that has the mount, and that signals go to.
  public var process: UInt32
  /// Whole seconds since it could be used.
  public var age: UInt64
  /// Bytes of the exposed file.
  public var size: UInt64
  /// Whether writes are refused.
  public var isReadOnly: Bool
  /// Threads that serve.
  public var threads: UInt32
  /// The image.
  public var base: Base
  /// What was written.
  public var overlay: Overlay
  /// What was asked of the mount, each kind once.
  public var requests: [Requests]
  /// Requests that failed.
  public var errors: UInt64
  /// One of the last of them, in words.
  public var lastError: String?
  /// What is not as it should be, in words.
  public var warnings: [String]

  /// Creates a status.
  public init(
    process: UInt32, age: UInt64, size: UInt64, isReadOnly: Bool, threads: UInt32, base: Base, overlay: Overlay,
    requests: [Requests], errors: UInt64, lastError: String?, warnings: [String]
  ) {
    self.process = process
    self.age = age
    self.size = size
    self.isReadOnly = isReadOnly
    self.threads = threads
    self.base = base
    self.overlay = overlay
    self.requests = requests
    self.errors = errors
    self.lastError = lastError
    self.warnings = warnings
  }

  /// The image.
  public struct Base: Equatable, Sendable {
    /// How others are kept from changing it.
    public enum Lock: UInt8, Sendable, MessageValue {
      /// Locked as QEMU locks images.
      case held = 1
      /// Others may write to it, as the user said.
      case shared = 2
      /// Its file system has no such locks.
      case unavailable = 3
      /// It is another program's to see to: a server has it.
      case server = 4
    }

    /// A path or a URI.
    public var source: String
    /// Its format, as `--format` takes it.
    public var format: String
    /// Its bytes, those that are not shown included.
    public var size: UInt64
    /// Which of them are shown, where not all are.
    public var part: Range<UInt64>?
    /// The partition that these are; nil for none.
    public var partition: UInt32?
    /// How others are kept from changing it.
    public var lock: Lock
    /// How often it was read.
    public var reads: UInt64
    /// Bytes that were read of it.
    public var readBytes: UInt64

    /// Creates it.
    public init(
      source: String, format: String, size: UInt64, part: Range<UInt64>?, partition: UInt32?, lock: Lock, reads: UInt64,
      readBytes: UInt64
    ) {
      self.source = source
      self.format = format
      self.size = size
      self.part = part
      self.partition = partition
      self.lock = lock
      self.reads = reads
      self.readBytes = readBytes
    }
  }

  /// What was written, and where it is.
  public struct Overlay: Equatable, Sendable {
    /// The directory whose file system has it; nil for memory.
    public var directory: String?
    /// The unit of copy-on-write in bytes.
    public var blockSize: UInt64
    /// Bytes of blocks that were written.
    public var written: UInt64
    /// Bytes of blocks that are copies of the base.
    public var copied: UInt64
    /// Bytes that it takes on its file system.
    public var used: UInt64
    /// Most bytes that it may take; nil for what there is.
    public var limit: UInt64?
    /// Bytes that can still be written.
    public var left: UInt64

    /// Creates it.
    public init(
      directory: String?, blockSize: UInt64, written: UInt64, copied: UInt64, used: UInt64, limit: UInt64?, left: UInt64
    ) {
      self.directory = directory
      self.blockSize = blockSize
      self.written = written
      self.copied = copied
      self.used = used
      self.limit = limit
      self.left = left
    }
  }

  /// How often something was asked.
  public struct Requests: Equatable, Sendable {
    /// What can be asked.
    public enum Verb: UInt8, CaseIterable, Sendable, MessageValue {
      case read = 1
      case write, allocate, seek, attributes, control, other
    }

    /// What was asked.
    public var verb: Verb
    /// How often.
    public var count: UInt64
    /// For how many bytes.
    public var bytes: UInt64

    /// Creates it.
    public init(_ verb: Verb, count: UInt64, bytes: UInt64) {
      self.verb = verb
      self.count = count
      self.bytes = bytes
    }
  }
}
