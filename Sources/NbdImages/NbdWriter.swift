// The other direction: a server that is written to, as qemu-nbd is for a file that is saved (VirtualDisks/WritingServer.swift).
// Bases are never written, and nothing that reads one knows of this.

internal import CNbd
public import SystemPackage

/// A connection to write by. Used by one thread.
public final class NbdWriter {
  /// What went wrong.
  public struct Failure: Error {
    /// In libnbd's words.
    public let words: String
    /// The errno; 0 where there is none.
    public let errno: Errno
  }

  private let library: NbdLibrary
  private let handle: NbdHandle

  /// Connects.
  ///
  /// - Parameter uri: where the server listens.
  public init(_ uri: String) throws(Failure) {
    do throws(NbdProblem) {
      library = try NbdLibrary()
      handle = try NbdHandle(library)
    } catch {
      throw Failure(words: "\(error)", errno: Errno(rawValue: 0))
    }
    guard library.connect_uri(handle.pointer, uri) == 0 else { throw failure }
  }

  /// Writes bytes.
  public func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Failure) {
    guard let start = bytes.baseAddress else { return }
    guard library.pwrite(handle.pointer, start, bytes.count, offset, 0) == 0 else { throw failure }
  }

  /// Makes bytes zeros, without storing them where the format can.
  public func zero(_ bytes: Range<UInt64>) throws(Failure) {
    guard library.zero(handle.pointer, bytes.upperBound - bytes.lowerBound, bytes.lowerBound, 0) == 0 else {
      throw failure
    }
  }

  /// Has all that was written stored, and takes leave.
  public func finish() throws(Failure) {
    guard library.flush(handle.pointer, 0) == 0, library.shutdown(handle.pointer, 0) == 0 else { throw failure }
  }

  private var failure: Failure {
    let failure = library.failure
    return Failure(words: failure.message, errno: failure.errno)
  }
}
