// Why an image cannot be used, in the words that the user reads.

public import SystemPackage

/// An image that cannot be used as a base.
public enum ImageError: Error, Equatable, CustomStringConvertible {
  /// The path leads to a directory.
  case directory(FilePath)
  /// The path leads to neither a regular file nor a block device.
  case notAnImage(FilePath)
  /// Another program has it open for writing.
  case inUse(FilePath)
  /// The kernel may write to it, for a loop device or a file system on it.
  case written(FilePath, by: ImageWriter)
  /// A system call failed on it.
  case unusable(FilePath, Errno)

  /// One line that names the image and the way out.
  public var description: String {
    switch self {
    case .directory(let path):
      "\(path) is a directory; give a disk image: a regular file or a block device"
    case .notAnImage(let path):
      "\(path) is neither a regular file nor a block device; give a disk image"
    case .inUse(let path):
      "\(path) is being written to by another program (a virtual machine?); end that, or pass --force-share"
    case .written(let path, .loopDevice(let device)):
      """
      \(path) is behind the loop device \(device), which can be written to; detach that (`losetup --detach \(device)`), \
      attach it read-only, or pass --force-share
      """
    case .written(let path, .mount(let device, let place)):
      "\(path) is being written to: \(device) is mounted at \(place); unmount that, or pass --force-share"
    case .unusable(let path, .noSuchFileOrDirectory):
      "\(path): no such image; check the path"
    case .unusable(let path, .permissionDenied):
      "\(path): you may not read this image; change its permissions or run as a user who may"
    case .unusable(let path, let error):
      "cannot open the image \(path): \(error)"
    }
  }
}
