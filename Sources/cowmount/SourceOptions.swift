// What kind of image it is: told by the user, or by the file's first bytes.

internal import ArgumentParser
internal import BaseImage
internal import CopyOnWrite
internal import DiskIO
internal import Logging
internal import SystemPackage

struct SourceOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "What the image is: raw, xz, zstd or gzip; raw shows a compressed file as it is. (default: by its first bytes)",
      valueName: "format"))
  var format: NamedFormat?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Largest compressed block to accept, decompressed: reading a byte decompresses its block.", valueName: "size"))
  var xzMaxBlock = ByteSize(bytes: 512 << 20)

  @Option(
    name: .long,
    help: ArgumentHelp("Most decompressed blocks that are kept in memory.", valueName: "n"))
  var xzMaxDepth = 8

  @Flag(
    name: .long,
    help: """
      Decompress the whole image into the overlay directory first, where the file can only be read from its beginning.
      """)
  var decompress = false

  @OptionGroup(title: "NBD servers")
  var server: ServerOptions

  /// Checks what the options are.
  func validate() throws {
    guard (1...1 << 40).contains(xzMaxBlock.bytes) else {
      throw ValidationError("--xz-max-block \(xzMaxBlock) must be from 1 to 1T")
    }
    guard (1...1 << 20).contains(xzMaxDepth) else {
      throw ValidationError("--xz-max-depth \(xzMaxDepth) must be from 1 to \(1 << 20)")
    }
  }

  /// Opens the image in its format.
  ///
  /// - Parameters:
  ///   - image: a path or a URI, as the user wrote it.
  ///   - sharesWithWriters: whether to use one that another program has open for writing.
  ///   - avoidsCache: whether to leave nothing of it in the page cache.
  ///   - overlayDir: the directory to decompress to where that is needed; nil for the one that overlays are in by default.
  ///   - inMemory: whether to decompress into memory instead.
  ///   - starter: the process that waits for this one to be ready, if there is one.
  func open(
    _ image: String, sharesWithWriters: Bool, avoidsCache: Bool = false, overlayDir: String? = nil,
    inMemory: Bool = false, starter: ProcessID? = nil
  ) throws -> any Image {
    if let uri = NbdURI(image) {
      guard format.map({ $0.format == .raw }) ?? true else { throw ServerError.compressed(uri.text) }
      return try server.open(uri)
    }
    try ServerOptions.refuseOtherSchemes(image)
    return try openFile(
      FilePath(image), sharesWithWriters: sharesWithWriters, avoidsCache: avoidsCache, overlayDir: overlayDir,
      inMemory: inMemory, starter: starter)
  }

  private func openFile(
    _ path: FilePath, sharesWithWriters: Bool, avoidsCache: Bool, overlayDir: String?, inMemory: Bool,
    starter: ProcessID?
  ) throws -> any Image {
    let file = try RawImage(path: path, sharesWithWriters: sharesWithWriters, avoidsCache: avoidsCache)
    let logger = Logger(label: "cowmount")
    if avoidsCache, !file.avoidsCache {
      logger.warning("\(file.source): its file system has no direct reads, so --base-cache none does nothing")
    }
    let format = try format?.format ?? detect(file, path)
    guard format != .raw else { return file }
    let progress = PassProgress(name: path.lastComponent?.string ?? "", starter: starter)
    var options = CompressionOptions()
    options.maxBlock = xzMaxBlock.bytes
    options.maxDepth = xzMaxDepth
    options.isForced = self.format != nil
    if decompress {
      options.scratch = { () throws(Errno) in try Overlay.scratch(directory: overlayDir, inMemory: inMemory) }
      options.scratchLimit = inMemory ? Overlay.defaultMemory : .max
    }
    options.report = { logger.warning("\($0)") }
    options.progress = progress.tell
    defer { progress.end() }
    let image = try format.open(file, options: options)
    let why = self.format == nil ? "by its first bytes" : "by --format"
    logger.info("\(file.source) is \(format) \(why): \(image.summary), \(image.size) bytes")
    return image
  }

  private func detect(_ file: RawImage, _ path: FilePath) throws(ImageError) -> ImageFormat {
    do {
      return try ImageFormat.detect(in: file)
    } catch {
      throw .unusable(path, error)
    }
  }
}

/// A format as users write it.
struct NamedFormat: ExpressibleByArgument {
  let format: ImageFormat

  init?(argument: String) {
    guard let format = ImageFormat(rawValue: argument) else { return nil }
    self.format = format
  }

  static var allValueStrings: [String] { ImageFormat.allCases.map(\.rawValue) }
}
