// An image that a server started for this mount serves, as the process sees it that reads it. It is another than the one that
// started the server (StartedServer.swift).
//
// A server that ends before the mount does is not started again: another process could serve other bytes, and nobody would
// notice. Reads fail from then on, at once.

public import CopyOnWrite
public import DiskIO
public import Images
internal import NbdImages
internal import Synchronization
public import SystemPackage

/// What a server started for this mount serves.
public final class ServedImage: Image {
  private let export: NbdImage
  /// The file that the server shows the content of, where that is known.
  private let file: RawImage?
  private let isGone = Atomic(false)

  /// The file's path, or the command's name.
  public let source: String

  /// What the writable file is called.
  public let name: String?

  init(_ export: NbdImage, of file: RawImage?, source: String, name: String?) {
    self.export = export
    self.file = file
    self.source = source
    self.name = name ?? export.name
  }

  deinit { export.prepareToEnd() }

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

  /// Whether there is no connection to the server, which lives: one that ended does not come back.
  public var isAway: Bool { export.isAway && !isGone.load(ordering: .relaxed) }

  /// Whatever the server does, it does several things at once.
  public var isRemote: Bool { export.isRemote }

  /// Has reads that wait for the server fail: it has ended, or the mount is about to.
  public func prepareToEnd() {
    isGone.store(true, ordering: .relaxed)
    export.prepareToEnd()
  }

  /// Reads bytes.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    try export.read(into: buffer, at: offset)
  }

  /// What the server says of holes.
  public func extent(at offset: UInt64) throws(Errno) -> Extent { try export.extent(at: offset) }
}
