// Finding out what an image is, and reading it: without rights.

internal import CompressedImages
internal import CopyOnWrite
internal import DiskIO
public import Images
internal import Logging
internal import NbdImages
public import PartitionTables
internal import SystemPackage
internal import VirtualDisks

/// What looking at a source may bring.
enum OpenedSource {
  /// An image, and the format of what it is in.
  case image(any Image, SourceFormat)
  /// A virtual disk, for which the keeper has to start a server.
  case virtualDisk(VirtualDiskFormat)
}

extension HeldSource {
  /// Looks at the bytes, and makes an image of them.
  ///
  /// - Parameters:
  ///   - scratch: a descriptor of an empty file to decompress to, where that may be needed.
  ///   - limit: most bytes to decompress.
  func open(
    _ settings: SourceSettings, link: KeeperLink, scratch: CInt? = nil, limit: UInt64 = .max
  ) throws -> OpenedSource {
    let logger = Logger(label: "cowmount")
    var client = settings.client
    client.report = { logger.warning("\($0)") }
    switch self {
    case .handedOver: preconditionFailure("only a source that is held is looked at")
    case .server(let uri): return .image(try NbdImage(uri: uri.text, options: client), .file(.raw))
    case .started(let server):
      let image = try server.open(options: client)
      if case .file(let path) = settings.location {
        logger.info("\(path) is served by qemu-nbd: \(image.size) bytes")
      }
      return .image(image, server.format.map { .disk($0) } ?? .file(.raw))
    case .file(let file):
      let why = settings.format == nil ? "by its first bytes" : "by --format"
      switch try settings.format ?? Self.detect(file) {
      case .file(.raw):
        if settings.format == nil, let format = ForeignFormat.detect(in: file) {
          link.send(.complaint(format.advice(on: file.source)))
        }
        return .image(file, .file(.raw))
      case .disk(let format):
        try format.inspect(file, isForced: settings.format != nil) { logger.warning("\($0)") }
        logger.info("\(file.source) is \(format) \(why)")
        return .virtualDisk(format)
      case .file(let format):
        let image = try format.open(file, options: Self.compression(settings, link, scratch, limit))
        logger.info("\(file.source) is \(format) \(why): \(image.summary), \(image.size) bytes")
        return .image(image, .file(format))
      }
    }
  }

  private static func compression(
    _ settings: SourceSettings, _ link: KeeperLink, _ scratch: CInt?, _ limit: UInt64
  ) -> CompressionOptions {
    let logger = Logger(label: "cowmount")
    var options = CompressionOptions()
    options.maxBlock = settings.maxBlock
    options.maxDepth = settings.maxDepth
    options.isForced = settings.format != nil
    if let scratch {
      options.scratch = { .scratch(adopting: scratch) }
      options.scratchLimit = limit
    }
    options.report = { logger.warning("\($0)") }
    options.progress = { link.send(.progress($0)) }
    return options
  }

  private static func detect(_ file: RawImage) throws(ImageError) -> SourceFormat {
    do {
      if let format = try VirtualDiskFormat.detect(in: file) { return .disk(format) }
      return .file(try ImageFormat.detect(in: file))
    } catch {
      throw .unusable(FilePath(file.source), error)
    }
  }
}

extension WindowSettings {
  /// Lays the window over an image; the image itself where there is nothing to do. What is odd about the partition table is
  /// told to `note`.
  func window(over image: any Image, note: (String) -> Void) throws -> any Image {
    var shape = shape
    if let partition {
      let bytes = try image.inPartitionTable(sectorSize: sectorSize) { (table) throws(PartitionTableError) in
        let bytes = try table.partition(partition).bytes
        for text in table.notes { note("\(image.source): \(text)") }
        return bytes
      }
      shape.offset = bytes.lowerBound
      shape.length = bytes.upperBound - bytes.lowerBound
    }
    return shape.isWhole ? image : try Window(over: image, shape)
  }
}

extension Image {
  /// Reads the partition table and does something with it; errors name the image.
  public func inPartitionTable<Result>(
    sectorSize: UInt64?, _ body: (PartitionTable) throws(PartitionTableError) -> Result
  ) throws(UnusablePartitionTable) -> Result {
    do {
      return try body(PartitionTable(of: self, sectorSize: sectorSize))
    } catch {
      throw UnusablePartitionTable(of: source, error)
    }
  }
}
