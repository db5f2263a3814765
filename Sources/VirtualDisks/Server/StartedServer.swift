// A server that is started for a mount. Two processes have a part in it, and this object after one was forked from the other:
// the one with the caller's rights starts the server, hears it and ends it; the one without connects, and reads what it serves.

internal import DiskIO
internal import Glibc
internal import Images
public import NbdImages
internal import SystemPackage
internal import Threads

/// A program that serves an image, for as long as this object lives in the process that made it. Used by one thread.
public final class StartedServer {
  // In this order they go away, too.
  private let process: ServerProcess
  private let socket: PrivateSocket
  private let command: ServerCommand
  /// The virtual disk that it is to serve, where it was started for one.
  private let disk: Disk?

  /// What a server of a virtual disk shows the content of: it gets the open file, and is confined to reading that or, where it
  /// follows the names of other files in it, whatever this process may read.
  struct Disk {
    let file: RawImage
    let format: VirtualDiskFormat
    let followsNames: Bool
  }

  /// The format of the virtual disk, where it was started for one.
  public var format: VirtualDiskFormat? { disk?.format }

  /// Whether those who write to the virtual disk are locked out; nil where it was not started for one.
  public var isLocked: Bool? { disk?.file.isLocked }

  /// Starts a command.
  ///
  /// - Throws: ``ServerCommandError`` where it cannot be started.
  public convenience init(_ command: ServerCommand) throws(ServerCommandError) {
    try self.init(command, file: command.file(), of: nil)
  }

  /// - Parameters:
  ///   - file: the program's file.
  ///   - disk: what the server shows the content of.
  init(_ command: ServerCommand, file: String, of disk: Disk?) throws(ServerCommandError) {
    do throws(Errno) {
      var started: ServerProcess?
      socket = try PrivateSocket { (listener) throws(Errno) in
        var inheritance = ServerProcess.Inheritance(socket: listener)
        inheritance.image = disk?.file.descriptor
        inheritance.rights = disk.map {
          let isClosed = $0.file.status.permissions & 0o004 == 0
          return .init(readsEverything: $0.followsNames, readsWhatIsClosed: $0.followsNames || isClosed)
        }
        started = try ServerProcess(file, words: command.words, inheritance)
      }
      guard let started else { throw .noSuchProcess }
      process = started
    } catch {
      throw ServerCommandError(name: command.name, problem: .notStarted(error))
    }
    self.command = command
    self.disk = disk
  }

  // MARK: With rights

  /// What to poll for reading, to ``hear()``.
  public var descriptors: [CInt] { process.descriptors }

  /// Takes what there is to hear of the server, without waiting.
  public func hear() { process.hear() }

  /// Has each line that the server wrote, and writes from now on, told.
  public func tell(_ report: @escaping (String) -> Void) {
    // Most servers begin their lines so themselves.
    let program = command.name
    let told = { (line: String) in report(line.hasPrefix("\(program): ") ? line : "\(program): \(line)") }
    process.said.forEach(told)
    process.report = told
  }

  /// Whether the server ended, and how, in words that begin with its name; nil while it has not.
  public var end: String? { process.end.map { "\(command.name) \($0)" } }

  /// How long it takes at most until the end of a server is known that hung up.
  private static let delay = Duration.milliseconds(500)

  /// Why the server serves nothing, where that is because it ended, or where it said so itself. What a client is told is
  /// that there is no export.
  public func reasonForFailure() -> (any Error)? {
    if process.wait(Self.delay, until: { process.end != nil }), let end = process.end {
      return error(.ended(end, said: process.said))
    }
    return ServerCommandError.cause(in: process.said).map { error(.failed($0)) }
  }

  /// The server's process; nil where it was not told of within a time.
  var processID: pid_t? {
    _ = process.wait(.seconds(5)) { process.pid != nil }
    return process.pid
  }

  /// Sees to it that a server of a virtual disk has no other file open.
  ///
  /// - Throws: ``VirtualDiskError`` that names the file.
  public func checkFiles() throws(VirtualDiskError) {
    guard let disk else { return }
    do throws(VirtualDiskError.Problem) {
      try VirtualDiskFormat.check(processID, hasOnly: disk.file)
    } catch {
      throw VirtualDiskError(path: disk.file.source, format: disk.format, problem: error)
    }
  }

  private func error(_ problem: ServerCommandError.Problem) -> any Error {
    let failure = ServerCommandError(name: command.name, problem: problem)
    guard let disk else { return failure }
    let why = disk.followsNames ? VirtualDiskError.Problem.server(failure) : .confinedServer(failure)
    return VirtualDiskError(path: disk.file.source, format: disk.format, problem: why)
  }

  // MARK: Without rights

  /// What is needed to connect, and to see that the virtual disk's file does not change.
  public var readerDescriptors: [CInt] { [socket.descriptor] + (disk?.file.descriptors ?? []) }

  /// Lets go of the server in a process that was forked from the one that started it, so that its end does not wait for this
  /// process.
  public func disown() { process.disown() }

  /// Why what a server serves cannot be used.
  public struct Unusable: Error {
    /// In words, should the server still run.
    public let reason: any Error
    /// Whether it may be that the server ended, or said why (``reasonForFailure()``).
    public let mayHaveEnded: Bool
  }

  /// Connects, and waits until the server serves.
  ///
  /// - Parameter options: how to be its client. A lost connection is made again; a server that ended is lost for good.
  public func open(options: NbdImage.Options) throws(Unusable) -> ServedImage {
    let uri = "nbd+unix:///?socket=\(socket.path)"
    var client = options
    client.report = { [name = command.name, report = options.report] in report($0.replacing(uri, with: name)) }
    do throws(NbdImageError) {
      let export = try NbdImage(uri: uri, options: client)
      return ServedImage(
        export, of: disk?.file, source: disk?.file.source ?? command.name,
        name: disk.flatMap { disk in disk.file.name.map(disk.format.nameInside) })
    } catch {
      switch error.problem {
      case .noLibrary: throw Unusable(reason: self.error(.unusable(error.problem)), mayHaveEnded: false)
      case .noAnswer(let time): throw Unusable(reason: self.error(.silent(time)), mayHaveEnded: false)
      default: throw Unusable(reason: self.error(.unusable(error.problem)), mayHaveEnded: true)
      }
    }
  }
}
