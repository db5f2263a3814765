// An image that a server started for this mount serves. It begins with the server and ends it.
//
// A server that ends before the mount does is not started again: another process could serve other bytes, and nobody would
// notice. Reads fail from then on, at once.

public import CopyOnWrite
public import DiskIO
internal import Glibc
public import SystemPackage

/// What a server started for this mount serves.
public final class ServedImage: Image {
  // In this order they go away, too: nobody reads when the server ends.
  private let export: NbdImage
  private let process: ServerProcess
  private let socket: PrivateSocket
  /// The file that the server shows the content of, where that is known.
  private let file: RawImage?

  /// The file's path, or the command's name.
  public let source: String

  /// What the writable file is called.
  public let name: String?

  /// What a user may choose, and what the caller brings.
  public struct Options: Sendable {
    /// How to be the server's client. A lost connection is made again; a server that ended is lost for good.
    public var client = NbdImage.Options()
    /// Called with a line of text that the server said or that is to be said of it, from any thread.
    public var report: @Sendable (String) -> Void = { _ in }

    /// Creates options with their defaults.
    public init() {}
  }

  /// Starts a command and waits until it serves.
  ///
  /// - Throws: ``ServerCommandError`` where it does not.
  public convenience init(_ command: ServerCommand, options: Options) throws(ServerCommandError) {
    try self.init(command, file: command.file(), of: nil, options: options)
  }

  /// - Parameters:
  ///   - command: the server's command line.
  ///   - file: the program's file.
  ///   - image: what the server shows the content of: it gets the open file, and none of root's rights but to read files;
  ///     and the name for that content.
  init(
    _ command: ServerCommand, file: String, of image: (file: RawImage, name: String?)?, options: Options
  ) throws(ServerCommandError) {
    func error(_ problem: ServerCommandError.Problem) -> ServerCommandError {
      ServerCommandError(name: command.name, problem: problem)
    }
    do throws(Errno) {
      var started: ServerProcess?
      socket = try PrivateSocket { (listener) throws(Errno) in
        var inheritance = ServerProcess.Inheritance(socket: listener)
        inheritance.image = image?.file.descriptor
        inheritance.isConfined = image != nil
        started = try ServerProcess(file, words: command.words, inheritance)
      }
      guard let started else { throw .noSuchProcess }
      process = started
    } catch let problem {
      throw error(.notStarted(problem))
    }
    let uri = "nbd+unix:///?socket=\(socket.path)"
    var client = options.client
    client.report = { [name = command.name, report = options.report] in report($0.replacing(uri, with: name)) }
    do throws(ImageError) {
      export = try NbdImage(uri: uri, options: client)
    } catch let failure {
      throw error(Self.reason(for: failure, process))
    }
    self.file = image?.file
    source = image?.file.source ?? command.name
    name = image?.name ?? export.name
    let program = command.name
    // Most servers begin their lines so themselves.
    let tell = { @Sendable (line: String) in
      options.report(line.hasPrefix("\(program): ") ? line : "\(program): \(line)")
    }
    process.serve(report: tell) { [export] end in
      options.report("\(program) \(end): what it served cannot be read any more")
      export.prepareToEnd()
    }
  }

  /// How long it takes at most until the end of a server is known that hung up.
  private static let delay = Duration.milliseconds(500)

  private static func reason(for failure: ImageError, _ process: ServerProcess) -> ServerCommandError.Problem {
    guard case .server(_, let problem) = failure else { return .unusable(.other("\(failure)")) }
    switch problem {
    case .noLibrary: return .unusable(problem)
    case .noAnswer(let time): return .silent(time)
    default:
      guard let end = process.end(within: delay) else { return .unusable(problem) }
      return .ended(end, said: process.said)
    }
  }

  deinit { export.prepareToEnd() }

  /// The server's process id, as long as it lives; nil where that is not to be had.
  var serverProcess: pid_t? { process.pid(within: .seconds(5)) }

  /// Bytes of the export.
  public var size: UInt64 { export.size }

  /// The file's owner, permissions and times; without a file, those of one that the caller makes now.
  public var status: FileStatus { file?.status ?? export.status }

  /// The file's; without a file, the caller's alone.
  public var access: ImageAccess { file?.access ?? export.access }

  /// Bytes that the server calls data, in units of 512 bytes.
  public var dataSectors: UInt64 { export.dataSectors }

  /// None: it is read where it is.
  public var scratchBytes: UInt64 { 0 }

  /// What is different about the file or the export.
  public func change() -> String? { file?.change() ?? export.change() }

  /// The connection to the server is made again with the rights of then: the socket is this process's own.
  public var needsRightsLater: Bool { export.needsRightsLater }

  /// Whether there is no connection to the server, which lives: one that ended does not come back.
  public var isAway: Bool { export.isAway && process.end(within: .zero) == nil }

  /// Whatever the server does, it does several things at once.
  public var isRemote: Bool { export.isRemote }

  /// Has reads that wait for the server fail.
  public func prepareToEnd() { export.prepareToEnd() }

  /// Reads bytes.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    try export.read(into: buffer, at: offset)
  }

  /// What the server says of holes.
  public func extent(at offset: UInt64) throws(Errno) -> Extent { try export.extent(at: offset) }
}
