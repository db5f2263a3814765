// What is copied from an image to the overlay without having been written.

internal import ArgumentParser
internal import DiskIO
internal import MountedDisk
internal import SystemPackage

struct CopyOptions: ParsableArguments {
  @Flag(name: .long, help: "Keep what is read of the image in the overlay, so that a slow image is read once.")
  var cowOnRead = false

  @Option(name: .long, help: ArgumentHelp("The same, as long as there is a file at this path.", valueName: "path"))
  var cowOnReadWhile: String?

  @Flag(
    name: .long,
    help: "Copy the image's data to the overlay in the background. What is read meanwhile is kept as well.")
  var prefetch = false

  /// Checks what the options are together.
  func validate() throws {
    if cowOnRead, cowOnReadWhile != nil {
      throw ValidationError("--cow-on-read and --cow-on-read-while exclude each other: give one")
    }
  }

  /// What the options come to.
  var settings: CopySettings {
    var settings = CopySettings()
    settings.onRead = cowOnRead
    settings.onReadWhile = cowOnReadWhile.map { FilePath(carriedBy: $0) }
    settings.prefetches = prefetch
    return settings
  }
}
