// What a user wants saved, and where.

public import SystemPackage

/// A disk to be saved.
public struct SaveSettings: Sendable {
  /// What a saved file is.
  public enum Format: String, CaseIterable, Sendable {
    /// QEMU's: only what was changed, over the image, or all of it.
    case qcow2
    /// The disk's bytes, with holes where they are zeros.
    case raw
  }

  /// Where it is saved.
  public var output: FilePath
  /// What the saved file is.
  public var format = Format.qcow2
  /// Whether it has all of the disk, and needs no image.
  public var isFull = false
  /// Whether its clusters are compressed.
  public var compresses = false
  /// Bytes of a cluster: a power of two from 512 to 2 MiB.
  public var clusterSize: UInt64 = 64 << 10
  /// Whether a file that is there is replaced.
  public var replaces = false

  /// Creates settings with their defaults.
  public init(to output: FilePath) {
    self.output = output
  }
}
