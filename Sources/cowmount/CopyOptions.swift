// What is copied from an image to the overlay without having been written.

internal import ArgumentParser
internal import BaseImage
internal import CopyOnWrite
internal import DiskIO
internal import FuseSession
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

  /// When reads copy.
  ///
  /// - Parameter mountpoint: must not contain the path that is looked at, or a read would wait for an answer of its own
  ///   mount.
  func copyOnRead(avoiding mountpoint: Mountpoint) throws(CopyOptionsError) -> CowDisk.CopyOnRead {
    guard let cowOnReadWhile else { return cowOnRead || prefetch ? .always : .never }
    let path: FilePath
    do {
      path = try FilePath(cowOnReadWhile).resolvingParent()
    } catch {
      throw .unusable(cowOnReadWhile, error)
    }
    if path.starts(with: mountpoint.path) { throw .insideMountpoint(cowOnReadWhile, mountpoint.path) }
    // A link is not followed: it could lead into the mount.
    return .asLongAs { (try? FileStatus(of: path, followingLinks: false)) != nil }
  }

  /// Says so where the overlay cannot take a whole image. What it takes is worth having all the same.
  func checkSpace(for image: any Image, in disk: CowDisk) {
    guard prefetch, let space = try? disk.spaceForCopies(), space / 512 < image.dataSectors else { return }
    Cowmount.complain(
      """
      --prefetch will not copy all of \(image.source): it may have \(humanSize(image.dataSectors * 512)) of data, and the \
      overlay has room for copies of \(humanSize(space))
      """)
  }
}

/// A path that cannot be looked at.
enum CopyOptionsError: Error, Equatable, CustomStringConvertible {
  case unusable(String, Errno)
  case insideMountpoint(String, FilePath)

  var description: String {
    switch self {
    case .unusable(let path, let error):
      "the directory of --cow-on-read-while \(path) cannot be used: \(error); create it, or choose another path"
    case .insideMountpoint(let path, let mountpoint):
      "--cow-on-read-while \(path) is inside the mountpoint \(mountpoint); choose a path outside of it"
    }
  }
}
