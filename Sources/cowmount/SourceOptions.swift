// What kind of image it is: told by the user, or by the file's first bytes.

public import ArgumentParser
internal import CompressedImages
internal import DiskIO
public import MountedDisk
internal import NbdImages
internal import SystemPackage
internal import VirtualDisks

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

  // The second name is the first one's from when xz was the only format with blocks.
  @Option(
    name: [.customLong("max-block"), .customLong("xz-max-block")],
    help: ArgumentHelp(
      "Largest compressed block to accept, decompressed: reading a byte decompresses its block.", valueName: "size"))
  var maxBlock = ByteSize(bytes: 512 << 20)

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
    guard (1...1 << 40).contains(maxBlock.bytes) else {
      throw ValidationError("--max-block \(maxBlock) must be from 1 to 1T")
    }
    guard (1...1 << 20).contains(xzMaxDepth) else {
      throw ValidationError("--xz-max-depth \(xzMaxDepth) must be from 1 to \(1 << 20)")
    }
    if !command.isEmpty, format != nil {
      throw ValidationError("--format has no meaning with a command: what it serves is raw")
    }
  }

  /// What the options come to.
  ///
  /// - Parameter image: a path or a URI, as the user wrote it.
  func settings(_ image: String) -> SourceSettings {
    var settings = SourceSettings(location(image))
    settings.format = format
    settings.maxBlock = maxBlock.bytes
    settings.maxDepth = xzMaxDepth
    settings.decompresses = decompress
    settings.client = server.client
    return settings
  }

  private func location(_ image: String) -> SourceSettings.Location {
    if let command = ServerCommand(command) { return .command(command) }
    if let uri = NbdURI(image) { return .server(uri) }
    return .file(FilePath(carriedBy: image))
  }

  /// Checks what the image is together with the options.
  func check(_ image: String) throws {
    guard command.isEmpty else { return }
    if let uri = NbdURI(image) {
      guard format.map({ $0 == .file(.raw) }) ?? true else { throw ServerError.otherFormat(uri.text) }
    } else {
      try ServerOptions.refuseOtherSchemes(image)
    }
  }
}

extension SourceFormat: ExpressibleByArgument {
  /// Takes a format as users write it.
  public init?(argument: String) {
    if let format = ImageFormat(rawValue: argument) {
      self = .file(format)
    } else if let format = VirtualDiskFormat(rawValue: argument == "vhd" ? "vpc" : argument) {
      self = .disk(format)
    } else {
      return nil
    }
  }

  /// All of them, for help.
  public static var allValueStrings: [String] {
    ImageFormat.allCases.map(\.rawValue) + VirtualDiskFormat.allCases.map(\.rawValue)
  }
}
