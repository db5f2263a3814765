// What a mount is made of, as the user chose it.

public import CompressedImages
public import CopyOnWrite
public import Images
public import NbdImages
public import SystemPackage
public import VirtualDisks

/// Where an image is and how it is read.
public struct SourceSettings: Sendable {
  /// Where it is.
  public enum Location: Sendable {
    /// In a regular file or on a block device.
    case file(FilePath)
    /// On an NBD server.
    case server(NbdURI)
    /// Behind a server that is started for it.
    case command(ServerCommand)
  }

  /// Where the image is.
  public var location: Location
  /// What it is; nil: by its first bytes.
  public var format: SourceFormat?
  /// Whether to use one that another program has open for writing.
  public var sharesWithWriters = false
  /// Whether to leave nothing of it in the page cache.
  public var avoidsCache = false
  /// Largest compressed block to accept, in bytes when decompressed.
  public var maxBlock: UInt64 = 512 << 20
  /// Most decompressed blocks that are kept.
  public var maxDepth = 8
  /// Whether to decompress the whole image first, where it cannot be read in pieces.
  public var decompresses = false
  /// How to be the client of an NBD server.
  public var client = NbdImage.Options()

  /// Creates settings with their defaults.
  public init(_ location: Location) {
    self.location = location
  }
}

/// A format of images.
public enum SourceFormat: Equatable, Sendable {
  /// Of bytes, one behind the other.
  case file(ImageFormat)
  /// Of a disk, in pieces.
  case disk(VirtualDiskFormat)
}

/// Which part of an image is shown, and how large.
public struct WindowSettings: Sendable {
  /// Offset, length, size and rounding.
  public var shape = WindowShape()
  /// Show this partition alone.
  public var partition: Int?
  /// Bytes of the sectors that the partition table counts in; nil: what makes sense of it.
  public var sectorSize: UInt64?

  /// Creates settings that show all of an image.
  public init() {}
}

/// A disk that is mounted.
public struct MountSettings: Sendable {
  /// The image.
  public var source: SourceSettings
  /// The part of the image that is shown.
  public var window = WindowSettings()
  /// What the file is called in the directory; nil: as the image.
  public var name: String?

  /// Where written blocks are kept.
  public var overlay = OverlaySettings.directory(nil)
  /// Most bytes that written blocks may take; nil: what there is.
  public var maxOverlay: UInt64?
  /// The unit of copy-on-write.
  public var geometry: Geometry
  /// Whether blocks that are written full of zeros take no space.
  public var detectsZeroes = false
  /// What of the image is copied to the overlay.
  public var copies = CopySettings()

  /// Whether writes are refused.
  public var isReadOnly = false
  /// Threads that serve; nil: what suits machine and image.
  public var threads: Int?
  /// Gives the mount options for libfuse, one each, from the name of the image in the mount table.
  public var fuseOptions: @Sendable (_ image: String) -> [String] = { _ in [] }
  /// Whether to log more.
  public var isVerbose = false

  /// Creates settings with their defaults.
  public init(_ source: SourceSettings, geometry: Geometry) {
    self.source = source
    self.geometry = geometry
  }
}

/// Where a disk is mounted, and who is told.
public struct PlaceSettings: Sendable {
  /// Where the writable file appears: in this directory, or in the place of this file.
  public var mountpoint: FilePath
  /// Whether the mountpoint may have entries, or something mounted on it.
  public var allowsNonEmpty = false
  /// Whether to stay in the foreground.
  public var staysInForeground = false
  /// Where the keeper's process id is written for as long as the mount can be used.
  public var pidFile: FilePath?
  /// A descriptor of the caller's that gets a newline, and is closed, as soon as the mount can be used.
  public var readyDescriptor: CInt?

  /// Creates a place with its defaults.
  public init(_ mountpoint: FilePath) {
    self.mountpoint = mountpoint
  }
}

/// What is copied from an image to the overlay without having been written.
public struct CopySettings: Sendable {
  /// Whether what is read is kept.
  public var onRead = false
  /// Keep what is read as long as there is a file at this path.
  public var onReadWhile: FilePath?
  /// Whether the image's data is copied in the background.
  public var prefetches = false

  /// Creates settings that copy nothing.
  public init() {}
}

/// Where written blocks are kept.
public enum OverlaySettings: Sendable {
  /// On the file system of this directory; nil for the usual one.
  case directory(FilePath?)
  /// In memory.
  case memory
}

/// A mount that could not be made, or did not end well.
public struct MountFailure: Error, CustomStringConvertible {
  /// One line that names the thing and the way out.
  public let description: String
  /// Whether the command line was wrong.
  public let isUsage: Bool

  /// Creates a failure.
  public init(_ description: String, isUsage: Bool = false) {
    self.description = description
    self.isUsage = isUsage
  }
}

/// The mount was made and did not end well; the log says why.
public struct MountEndedBadly: Error {}
