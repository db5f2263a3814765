// A server that is started to write a file, as qemu-nbd does for one that is saved. It gets the open file, nobody else can
// reach it, and it ends with this process, however that ends (CLinux/Server.c).

internal import NbdImages
public import SystemPackage

/// A program that writes into an open file what is written to this object. Used by one thread.
public final class WritingServer {
  // In this order they go away, too.
  private let process: ServerProcess
  private let socket: PrivateSocket
  private let writer: NbdWriter

  /// Where the program finds the file.
  public static let filePath = ServerProcess.imagePath

  /// A server that could not be started, or does not do what it should.
  public struct Failure: Error {
    /// In the program's own words, where it said something; else in libnbd's.
    public let words: String
    /// The errno; 0 where there is none.
    public let errno: Errno
    /// Whether there is no such program.
    public let isMissing: Bool
  }

  /// How long it takes at most until a program has said why it ended.
  private static let delay = Duration.milliseconds(500)
  /// How long a program may take to end when nobody is connected any more.
  private static let patience = Duration.seconds(30)

  /// Starts a program, and connects to it.
  ///
  /// - Parameters:
  ///   - words: the program and its arguments.
  ///   - file: a descriptor of the file.
  public init(_ words: [String], file: CInt) throws(Failure) {
    let server: ServerProcess
    guard let command = ServerCommand(words), let path = try? command.file() else {
      throw Failure(words: "", errno: .noSuchFileOrDirectory, isMissing: true)
    }
    do throws(Errno) {
      var started: ServerProcess?
      socket = try PrivateSocket { (listener) throws(Errno) in
        var inheritance = ServerProcess.Inheritance(socket: listener)
        inheritance.image = file
        started = try ServerProcess(path, words: words, inheritance)
      }
      guard let started else { throw .noSuchProcess }
      server = started
    } catch {
      throw Failure(words: "\(error)", errno: error, isMissing: false)
    }
    process = server
    do throws(NbdWriter.Failure) {
      writer = try NbdWriter("nbd+unix:///?socket=\(socket.path)")
    } catch {
      _ = server.wait(Self.delay) { server.end != nil }
      throw Failure(words: server.said.last ?? error.words, errno: Errno(rawValue: 0), isMissing: false)
    }
  }

  /// Writes bytes.
  public func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Failure) {
    do throws(NbdWriter.Failure) { try writer.write(bytes, at: offset) } catch { throw reason(error) }
  }

  /// Makes bytes zeros, without storing them where the format can.
  public func zero(_ bytes: Range<UInt64>) throws(Failure) {
    do throws(NbdWriter.Failure) { try writer.zero(bytes) } catch { throw reason(error) }
  }

  /// Has all that was written stored, and waits for the end of the program.
  public func finish() throws(Failure) {
    do throws(NbdWriter.Failure) { try writer.finish() } catch { throw reason(error) }
    guard process.wait(Self.patience, until: { process.end != nil }) else {
      throw Failure(words: "it does not end", errno: Errno(rawValue: 0), isMissing: false)
    }
    guard process.end == .exited(0) else {
      throw Failure(
        words: process.said.last ?? "it ended otherwise than well", errno: Errno(rawValue: 0), isMissing: false)
    }
  }

  private func reason(_ failure: NbdWriter.Failure) -> Failure {
    process.hear()
    return Failure(words: process.said.last ?? failure.words, errno: failure.errno, isMissing: false)
  }
}
