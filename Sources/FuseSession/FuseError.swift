// Why a mount cannot be made, in the words that the user reads.

import SystemPackage

/// A mount that could not be made.
public enum FuseError: Error, Equatable, CustomStringConvertible {
  /// The kernel's FUSE device is missing or closed to this user.
  case noDevice(Errno)
  /// Root is not allowed to mount: in a container, or in a user namespace.
  case noRight(FilePath)
  /// An ordinary user needs fusermount3, which is not installed.
  case noFusermount
  /// The mountpoint does not exist.
  case missingMountpoint(FilePath)
  /// The mountpoint is neither a directory nor a regular file.
  case notMountable(FilePath)
  /// Something is mounted there.
  case busy(FilePath, type: String)
  /// The directory has entries, which the mount would hide.
  case notEmpty(FilePath)
  /// The remains of an earlier mount could not be taken away.
  case stuck(FilePath)
  /// The path goes through a symbolic link that root cannot trust.
  case foreignLink(FilePath, FilePath)
  /// What was mounted is not there any more, or something else is.
  case displaced(FilePath)
  /// What the kernel shows of a mounted file could not be set right.
  case uncorrected(FilePath, Errno)
  /// A system call on the mountpoint failed.
  case mountpoint(FilePath, Errno)
  /// No directory could be made for the mount; the first place that was tried.
  case noPrivatePlace(FilePath, Errno)
  /// libfuse or fusermount3 refused; their own words.
  case refused(FilePath, String)
  /// The kernel's device that the mount was made with cannot be served; libfuse's words.
  case unservable(String)
  /// A mount option asks for requests over io_uring.
  case overUring(option: String)
  /// The serving threads could not be started.
  case noThreads(Errno)

  /// One line that names the thing and the way out.
  public var description: String {
    switch self {
    case .noDevice(.noSuchFileOrDirectory):
      "there is no /dev/fuse; load the kernel module (modprobe fuse), or give this container the device"
    case .noDevice(.notPermitted):
      "cannot open /dev/fuse: \(Errno.notPermitted); give this container the device (--device /dev/fuse)"
    case .noDevice(let error):
      "cannot open /dev/fuse: \(error); have root make it readable and writable for you (chmod 666 /dev/fuse)"
    case .noRight(let path):
      """
      cannot mount at \(path): root may not mount here; start the container with --cap-add SYS_ADMIN --device /dev/fuse, \
      and a user namespace with a mount namespace of its own (unshare --map-root-user --mount)
      """
    case .noFusermount:
      "fusermount3 is not installed, and without it only root can mount; install the package fuse3"
    case .missingMountpoint(let path):
      "mountpoint \(path) does not exist; create it: mkdir \(path)"
    case .notMountable(let path):
      "mountpoint \(path) is neither a directory nor a regular file"
    case .busy(let path, let type):
      "mountpoint \(path) is in use, a \(type) is mounted there; unmount it, or pass --nonempty to mount over it"
    case .notEmpty(let path):
      "mountpoint \(path) is not empty; choose an empty directory, or pass --nonempty to hide what is in it"
    case .stuck(let path):
      "a dead mount at \(path) cannot be cleared; unmount it as the one who mounted it: fusermount3 -uz \(path)"
    case .foreignLink(let path, let link):
      """
      mountpoint \(path) leads through the symbolic link \(link), which somebody else made or may change; name the place \
      that is meant
      """
    case .displaced(let path):
      "the mount at \(path) was moved or covered as soon as it stood; see who else uses that directory"
    case .uncorrected(let path, let error):
      "cannot show the right size and time at \(path): \(error)"
    case .mountpoint(let path, let error):
      "cannot use the mountpoint \(path): \(error)"
    case .noPrivatePlace(let path, let error):
      """
      cannot make a directory to mount at in \(path): \(error); have TMPDIR name one that is yours, or that has the \
      sticky bit
      """
    case .refused(let path, let words):
      "cannot mount at \(path): \(words)"
    case .unservable(let words):
      "cannot serve the mount: \(words)"
    case .overUring(let option):
      "-o \(option): requests over io_uring are not supported; leave it out"
    case .noThreads(let error):
      "cannot start the serving threads: \(error)"
    }
  }
}
