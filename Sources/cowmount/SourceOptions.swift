// What kind of image it is: told by the user, or by the file's first bytes.

internal import ArgumentParser
internal import BaseImage
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

  mutating func validate() throws {
    guard (1...1 << 40).contains(xzMaxBlock.bytes) else {
      throw ValidationError("--xz-max-block \(xzMaxBlock) must be from 1 to 1T")
    }
    guard (1...1 << 20).contains(xzMaxDepth) else {
      throw ValidationError("--xz-max-depth \(xzMaxDepth) must be from 1 to \(1 << 20)")
    }
  }

  /// Opens the image in its format.
  func open(_ path: FilePath, sharesWithWriters: Bool) throws -> any Image {
    let file = try RawImage(path: path, sharesWithWriters: sharesWithWriters)
    let format = try format?.format ?? detect(file, path)
    guard format != .raw else { return file }
    let logger = Logger(label: "cowmount")
    let image = try format.open(
      file,
      options: CompressionOptions(
        maxBlock: xzMaxBlock.bytes, maxDepth: xzMaxDepth, isForced: self.format != nil,
        report: { logger.warning("\($0)") }))
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
