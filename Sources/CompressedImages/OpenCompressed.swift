// Opening a file in a compressed format as an image: block by block where the format has blocks, else decompressed once,
// where the user allows that.

public import DiskIO
internal import Glibc
public import Images
public import SystemPackage

/// What a user may choose for compressed images.
public struct CompressionOptions: Sendable {
  /// Most bytes of a block, which is what a read of one byte may have to decompress.
  public var maxBlock: UInt64 = 512 << 20
  /// Most blocks of an xz file that are kept in memory.
  public var maxDepth = 8
  /// Whether the user named the format: then an archive is taken for what its bytes are.
  public var isForced = false
  /// Creates an empty unnamed file to decompress what cannot be read in pieces; nil where that is not wanted.
  public var scratch: (@Sendable () throws(Errno) -> File)?
  /// Most bytes to write to that file, zeros not counted.
  public var scratchLimit = UInt64.max
  /// Called with a line of text for what the user should know, also while the image is in use.
  public var report: @Sendable (String) -> Void = { _ in }
  /// Called again and again while something goes through the whole file.
  public var progress: @Sendable (CompressionProgress) -> Void = { _ in }

  /// Creates options with their defaults.
  public init() {}
}

/// How far a pass through a whole file is.
public struct CompressionProgress: Sendable {
  /// What the pass is for.
  public enum Task: Sendable {
    case indexing, decompressing
  }

  /// What it is for.
  public let task: Task
  /// Bytes of the file that were read.
  public let done: UInt64
  /// All of them.
  public let all: UInt64

  /// Creates it.
  public init(task: Task, done: UInt64, all: UInt64) {
    self.task = task
    self.done = done
    self.all = all
  }
}

/// An image of whose file there is something to say.
public protocol DescribedImage: Image {
  /// What its file is made of, in words.
  var summary: String { get }
}

extension CompressedImage: DescribedImage {}
extension DecompressedImage: DescribedImage {}

extension ImageFormat {
  /// Makes an image of a file in this format, which must be a compressed one.
  ///
  /// - Throws: ``CompressedImageError`` that names the file and what is wrong with it.
  public func open(_ file: RawImage, options: CompressionOptions) throws(CompressedImageError) -> any DescribedImage {
    do throws(CompressedImageError.Problem) {
      guard file.size > 0 else { throw .empty }
      if !options.isForced, let name = file.name, isArchive(name) { throw .archive }
      do throws(CompressedImageError.Problem) {
        return try openBlocks(file, options)
      } catch {
        guard error.isOfSize, let scratch = options.scratch else { throw error }
        return try decompress(file, into: scratch, options)
      }
    } catch {
      throw CompressedImageError(path: file.source, format: self, problem: error)
    }
  }

  // MARK: Block by block

  private func openBlocks(
    _ file: RawImage, _ options: CompressionOptions
  ) throws(CompressedImageError.Problem) -> CompressedImage {
    let progress = { (done: UInt64) in
      options.progress(CompressionProgress(task: .indexing, done: done, all: file.size))
    }
    let source: any BlockSource
    switch self {
    case .xz: source = try XzBlocks(file)
    case .zstd: source = try ZstdBlocks(file, maxBlock: options.maxBlock, progress: progress)
    case .gzip: source = GzipBlocks(file, try GzipIndex(file, maxBlock: options.maxBlock, progress: progress))
    case .raw: throw .otherFormat
    }
    let table = source.blocks
    guard table.largest <= options.maxBlock else { throw .blockTooLarge(table.largest, limit: options.maxBlock) }
    if !options.isForced, Self.startsAsArchive(source) { throw .archive }
    return CompressedImage(
      file, name: file.name.map(nameInside), blocks: source, cache: cache(for: table, options), report: options.report)
  }

  /// For xz, as many blocks as the user wants. Those of other formats may be small, and are as many as eight of the
  /// largest, or 64 MiB. None of it takes more than a quarter of the machine's memory.
  private func cache(for table: BlockTable, _ options: CompressionOptions) -> BlockCache {
    let machine = UInt64(max(0, sysconf(CInt(_SC_PHYS_PAGES)))) * UInt64(max(0, sysconf(CInt(_SC_PAGESIZE))))
    let depth = self == .xz ? options.maxDepth : 8
    let (product, overflow) = table.largest.multipliedReportingOverflow(by: UInt64(depth))
    let wanted = max(overflow ? .max : product, self == .xz ? 0 : 64 << 20)
    return BlockCache(
      maxBlocks: self == .xz ? options.maxDepth : .max, maxBytes: max(table.largest, min(wanted, machine / 4)))
  }

  /// A first block that cannot be read is damaged, and no archive.
  private static func startsAsArchive(_ source: any BlockSource) -> Bool {
    guard source.blocks.count > 0 else { return false }
    let first = source.blocks[0]
    var start = [UInt8](repeating: 0, count: Int(min(512, first.count)))
    guard (try? start.withUnsafeMutableBytes { try source.decompress(first, into: $0) }) != nil else { return false }
    return isArchive(startingWith: start)
  }

  // MARK: Once and as a whole

  private func decompress(
    _ file: RawImage, into scratch: () throws(Errno) -> File, _ options: CompressionOptions
  ) throws(CompressedImageError.Problem) -> DecompressedImage {
    let content: File
    do throws(Errno) {
      content = try scratch()
    } catch {
      throw .cannotDecompress(error)
    }
    switch self {
    case .xz:
      var stream = try XzStream(file)
      return try decompress(file, &stream, into: content, options)
    case .zstd:
      guard var stream = try? ZstdStream(file, 0..<file.size) else { throw .unusable(.noMemory) }
      return try decompress(file, &stream, into: content, options)
    case .gzip:
      var stream = try GzipStream(file)
      return try decompress(file, &stream, into: content, options)
    case .raw: throw .otherFormat
    }
  }

  private func decompress(
    _ file: RawImage, _ stream: inout some ByteStream & ~Copyable, into content: consuming File,
    _ options: CompressionOptions
  ) throws(CompressedImageError.Problem) -> DecompressedImage {
    let progress = { (done: UInt64) in
      options.progress(CompressionProgress(task: .decompressing, done: done, all: file.size))
    }
    let image = try DecompressedImage(
      file, name: file.name.map(nameInside), &stream, into: content, limit: options.scratchLimit, progress: progress)
    if !options.isForced, image.isArchive { throw .archive }
    return image
  }
}

extension DecompressedImage {
  fileprivate var isArchive: Bool {
    (try? bytes(512, at: 0)).flatMap { $0 }.map(ImageFormat.isArchive(startingWith:)) ?? false
  }
}
