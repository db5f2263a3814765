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
      """
      What the image is: raw, xz, zstd, gzip, qcow2, vmdk, vhdx, vdi or vpc; raw shows the file as it is. (default: by \
      its first bytes)
      """,
      valueName: "format"))
  var format: SourceFormat?

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

  /// A command that serves the image, word by word (BracketedCommand).
  @Option(name: .customLong(BracketedCommand.option), parsing: .unconditionalSingleValue, help: .private)
  var command: [String] = []

  /// Checks what the options are.
  func validate() throws {
    guard (1...1 << 40).contains(xzMaxBlock.bytes) else {
      throw ValidationError("--xz-max-block \(xzMaxBlock) must be from 1 to 1T")
    }
    guard (1...1 << 20).contains(xzMaxDepth) else {
      throw ValidationError("--xz-max-depth \(xzMaxDepth) must be from 1 to \(1 << 20)")
    }
    if !command.isEmpty, format != nil {
      throw ValidationError("--format has no meaning with a command: what it serves is raw")
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
  ///   - scratchLimit: most bytes to decompress to; nil for no limit.
  ///   - starter: the process that waits for this one to be ready, if there is one.
  func open(
    _ image: String, sharesWithWriters: Bool, avoidsCache: Bool = false, overlayDir: String? = nil,
    inMemory: Bool = false, scratchLimit: UInt64? = nil, starter: ProcessID? = nil
  ) throws -> any Image {
    if let command = ServerCommand(command) { return try ServedImage(command, options: server.forStarted) }
    if let uri = NbdURI(image) {
      guard format.map({ $0 == .file(.raw) }) ?? true else { throw ServerError.otherFormat(uri.text) }
      return try server.open(uri)
    }
    try ServerOptions.refuseOtherSchemes(image)
    return try openFile(
      FilePath(image), sharesWithWriters: sharesWithWriters, avoidsCache: avoidsCache, overlayDir: overlayDir,
      inMemory: inMemory, scratchLimit: scratchLimit, starter: starter)
  }

  private func openFile(
    _ path: FilePath, sharesWithWriters: Bool, avoidsCache: Bool, overlayDir: String?, inMemory: Bool,
    scratchLimit: UInt64?, starter: ProcessID?
  ) throws -> any Image {
    let file = try RawImage(path: path, sharesWithWriters: sharesWithWriters, avoidsCache: avoidsCache)
    let logger = Logger(label: "cowmount")
    if avoidsCache, !file.avoidsCache {
      logger.warning("\(file.source): its file system has no direct reads, so --base-cache none does nothing")
    }
    let format = try format ?? detect(file, path)
    let why = self.format == nil ? "by its first bytes" : "by --format"
    switch format {
    case .file(.raw): return file
    case .disk(let format):
      var options = VirtualDiskFormat.Options()
      options.isForced = self.format != nil
      options.sharesWithWriters = sharesWithWriters
      options.avoidsCache = file.avoidsCache
      options.server = server.forStarted
      let image = try format.open(file, options: options)
      logger.info("\(file.source) is \(format) \(why): qemu-nbd serves \(image.size) bytes")
      return image
    case .file(let format):
      let progress = PassProgress(name: path.lastComponent?.string ?? "", starter: starter)
      defer { progress.end() }
      let options = compression(progress, overlayDir: overlayDir, inMemory: inMemory, limit: scratchLimit)
      let image = try format.open(file, options: options)
      logger.info("\(file.source) is \(format) \(why): \(image.summary), \(image.size) bytes")
      return image
    }
  }

  private func compression(
    _ progress: PassProgress, overlayDir: String?, inMemory: Bool, limit: UInt64?
  ) -> CompressionOptions {
    let logger = Logger(label: "cowmount")
    var options = CompressionOptions()
    options.maxBlock = xzMaxBlock.bytes
    options.maxDepth = xzMaxDepth
    options.isForced = format != nil
    if decompress {
      options.scratch = { () throws(Errno) in try Overlay.scratch(directory: overlayDir, inMemory: inMemory) }
      options.scratchLimit = limit ?? .max
    }
    options.report = { logger.warning("\($0)") }
    options.progress = progress.tell
    return options
  }

  private func detect(_ file: RawImage, _ path: FilePath) throws(ImageError) -> SourceFormat {
    do {
      if let format = try VirtualDiskFormat.detect(in: file) { return .disk(format) }
      return .file(try ImageFormat.detect(in: file))
    } catch {
      throw .unusable(path, error)
    }
  }
}

/// A format as users write it.
enum SourceFormat: Equatable, ExpressibleByArgument {
  /// Of bytes, one behind the other.
  case file(ImageFormat)
  /// Of a disk, in pieces.
  case disk(VirtualDiskFormat)

  init?(argument: String) {
    if let format = ImageFormat(rawValue: argument) {
      self = .file(format)
    } else if let format = VirtualDiskFormat(rawValue: argument == "vhd" ? "vpc" : argument) {
      self = .disk(format)
    } else {
      return nil
    }
  }

  static var allValueStrings: [String] {
    ImageFormat.allCases.map(\.rawValue) + VirtualDiskFormat.allCases.map(\.rawValue)
  }
}
