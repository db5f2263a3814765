// An image on an NBD server: raw bytes under a URI, as nbdkit and qemu-nbd serve them from distributed stores, other formats
// and anywhere else. NbdConnectionPool has the connections; here requests get the shape that the server takes.

public import CopyOnWrite
public import DiskIO
public import Glibc
public import Images
internal import Synchronization
public import SystemPackage
internal import Threads

/// An export of an NBD server, read only.
public final class NbdImage: Image {
  private let connections: NbdConnectionPool
  private let limits: NbdReadLimits
  private let extents = Mutex(NbdExtentMap())

  /// What a user may choose.
  public struct Options: Sendable {
    /// Most connections; nil for up to eight where the server allows more than one, else one. They are made as they are
    /// needed.
    public var connections: Int?
    /// How long reads wait for a server that was lost; with 0 they fail at once.
    public var reconnect: Duration = .seconds(30)
    /// How long a server may take to accept a connection and agree on the export.
    public var handshake: Duration = .seconds(30)
    /// How long a server may leave requests without any answer before it counts as lost.
    public var silence: Duration = .seconds(30)
    /// How long requests in flight may still take when the mount ends.
    var grace: Duration = .seconds(2)
    /// Called with a line of text when the server is lost and when it is back, from any thread.
    public var report: @Sendable (String) -> Void = { _ in }

    /// Whom the export belongs to, for the mount: nobody else gets in. The process that reads it may be somebody else.
    public var user = geteuid()
    /// Its group.
    public var group = getegid()

    /// Creates options with their defaults.
    public init() {}
  }

  /// Bytes of the export.
  public let size: UInt64

  /// The URI.
  public let source: String

  /// The last part of the export's name, or `disk.img` where it has none.
  public let name: String?

  /// Nobody owns an export: it is taken for the caller's, made now.
  public let status: FileStatus

  /// Whom the server would let in is not known, so it is for nobody but the caller.
  public let access: ImageAccess

  /// Bytes that the server calls data, in units of 512 bytes; never less than there are.
  public let dataSectors: UInt64

  /// Connects to a server and opens one of its exports.
  ///
  /// - Parameters:
  ///   - uri: as libnbd takes it: `nbd://host/export`, `nbd+unix:///export?socket=PATH`, `nbds:` for TLS.
  ///   - options: limits and habits.
  /// - Throws: ``NbdImageError``.
  public convenience init(uri: String, options: Options = Options()) throws(NbdImageError) {
    guard let parsed = NbdURI(uri) else {
      throw NbdImageError(uri: uri, problem: .badURI("its scheme is not nbd, nbds or nbd+unix"))
    }
    do throws(NbdProblem) {
      try self.init(NbdConnectionPool(parsed, options), at: parsed, options)
    } catch {
      throw NbdImageError(uri: parsed.text, problem: error)
    }
  }

  private init(_ connections: NbdConnectionPool, at uri: NbdURI, _ options: Options) {
    self.connections = connections
    source = uri.text
    limits = connections.export.reads
    size = connections.export.size
    name = NbdURI.fileName(ofExport: connections.export.name)
    status = FileStatus(ofNewFileWithSize: size)
    access = ImageAccess(file: FileAccess(user: options.user, group: options.group, permissions: 0o600))
    let data = Self.dataBytes(over: connections, extents)
    dataSectors = (data + 511) / 512
  }

  deinit { connections.end() }

  /// Loads what is needed to reach servers, while files may still be opened.
  ///
  /// - Throws: ``NbdProblem/noLibrary(_:)``.
  public static func prepare() throws(NbdProblem) { _ = try NbdLibrary() }

  /// None: it is read where it is.
  public var scratchBytes: UInt64 { 0 }

  /// What is different about the export from when it was opened: only its size can tell.
  public func change() -> String? { connections.change }

  /// It is, and where the server is not, what it reads from may be.
  public var isRemote: Bool { true }

  /// Whether there is no connection to the server, or only to one that serves something else now.
  public var isAway: Bool { connections.isAway }

  /// Has reads that wait for a lost server fail.
  public func prepareToEnd() { connections.end() }

  // MARK: Bytes

  /// Reads bytes. Waits for a lost server as long as the options say; then, and where the server refuses, it is `.ioError`.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    guard UInt64(buffer.count) <= size, offset <= size - UInt64(buffer.count) else { throw .ioError }
    var done = 0
    while done < buffer.count {
      let range = offset + UInt64(done)..<offset + UInt64(buffer.count)
      let request = limits.firstRequest(for: range)
      let isInside = request.lowerBound == range.lowerBound && request.upperBound <= range.upperBound
      if isInside {
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + request.count])
        try connections.perform { $0.read(into: part, at: request.lowerBound) }
        done += request.count
      } else {
        done += try readPart(of: request, from: range, into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]))
      }
    }
  }

  /// Reads a block of which only a part is wanted. Returns how many bytes those are.
  private func readPart(
    of block: Range<UInt64>, from range: Range<UInt64>, into buffer: UnsafeMutableRawBufferPointer
  ) throws(Errno) -> Int {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: block.count, alignment: 16)
    defer { memory.deallocate() }
    try connections.perform { $0.read(into: memory, at: block.lowerBound) }
    let wanted = range.clamped(to: block)
    let start = Int(wanted.lowerBound - block.lowerBound)
    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[start..<start + wanted.count]))
    return wanted.count
  }

  // MARK: Holes

  /// What the server says of holes; all is data where it says nothing.
  public func extent(at offset: UInt64) throws(Errno) -> Extent {
    try Self.extent(at: offset, over: connections, extents)
  }

  private static func extent(
    at offset: UInt64, over connections: NbdConnectionPool, _ known: borrowing Mutex<NbdExtentMap>
  ) throws(Errno) -> Extent {
    let export = connections.export
    guard export.tellsHoles else { return Extent(isData: true, end: export.size) }
    if let extent = known.withLock({ $0.extent(at: offset) }) { return extent }
    let step = UInt64(export.reads.minimum)
    let start = offset - offset % step
    let count = min(Self.longestQuestion, export.size - start)
    var answer: [Extent] = []
    try connections.perform { connection in
      // A new one for each try: a connection may be lost in the middle of an answer.
      let collector = NbdExtentCollector(from: start, limit: export.size)
      let outcome = connection.extents(at: start, count: count, into: collector)
      answer = collector.runs
      // Who cannot tell where holes are has none.
      if case .refused = outcome { answer = [Extent(isData: true, end: start + count)] }
      return outcome == .lost ? .lost : .done
    }
    if (answer.last?.end ?? 0) <= offset { answer = [Extent(isData: true, end: start + count)] }
    return known.withLock { known in
      known.add(answer, from: start)
      return known.extent(at: offset) ?? Extent(isData: true, end: start + count)
    }
  }

  /// Largest length of a block status request in all versions of the protocol, and a multiple of every block size.
  private static let longestQuestion: UInt64 = (4 << 30) - (64 << 10)

  /// Most questions that are asked when an image is opened, and the time after which no more are.
  private static let firstQuestions = (count: 16, time: Duration.milliseconds(100))

  /// How many bytes are data, as far as that can be known quickly; the rest is called that, too.
  private static func dataBytes(over connections: NbdConnectionPool, _ known: borrowing Mutex<NbdExtentMap>) -> UInt64 {
    let size = connections.export.size
    let end = Moment.now + firstQuestions.time
    var (position, data): (UInt64, UInt64) = (0, 0)
    var questions = 0
    while position < size {
      let isKnown = known.withLock { $0.extent(at: position) } != nil
      if !isKnown { questions += 1 }
      guard isKnown || questions <= firstQuestions.count && Moment.now < end,
        let extent = try? extent(at: position, over: connections, known)
      else { return data + size - position }
      if extent.isData { data += extent.end - position }
      position = extent.end
    }
    return data
  }
}
