// What a mount asks of an image beyond its bytes. Every kind of image is a type that conforms to it, the raw file here and
// each other kind in a target of its own, which sees this one and none of the other kinds (but that virtual disks are read
// by NBD). What uses images knows no kinds. Nothing has a default: an image over another would forget to ask that.

public import CopyOnWrite
public import DiskIO

/// Limits of images of any kind.
public enum ImageSize {
  /// Most bytes of an image. The engine's blocks, of up to 2 MiB, must not go beyond the largest file.
  public static let largest = UInt64(Int64.max) - (2 << 20)
}

/// An opened image, of whatever kind.
public protocol Image: BaseReader {
  /// What the mount table shows as mounted, and messages call it: an absolute path or a URI.
  var source: String { get }

  /// The name of the exposed file where the user gives none.
  var name: String? { get }

  /// What the file system told of it when it was opened; the exposed file takes over the times.
  var status: FileStatus { get }

  /// Who can reach it, which is whom the exposed file lets in.
  var access: ImageAccess { get }

  /// Bytes that are data, in units of 512 bytes: never less than there are.
  var dataSectors: UInt64 { get }

  /// Bytes that a copy of it takes in the place where overlays are: they count against the overlay's limit.
  var scratchBytes: UInt64 { get }

  /// What is different from when the image was opened, in words, or nil where nothing is. Called every few seconds.
  func change() -> String?

  /// Whether reads mostly wait, as for another machine, so that more of them at once than there are processors are faster.
  var isRemote: Bool { get }

  /// Whether nothing can be read now, though it may be later: a server was lost.
  var isAway: Bool { get }

  /// Told when the mount is about to end: from here on, reads that wait for something far away fail soon.
  func prepareToEnd()
}
