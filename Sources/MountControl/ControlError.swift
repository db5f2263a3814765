// Why a mount cannot be asked: one line each, with the thing, the reason and the way out.

public import SystemPackage

/// A mount that cannot be asked, or does not do what it is asked for.
public enum ControlError: Error, Equatable, CustomStringConvertible {
  /// Nothing can be found at this path.
  case unusable(FilePath, Errno)
  /// The path goes through a symbolic link of somebody else.
  case foreignLink(FilePath, FilePath)
  /// What is there is no cowmount.
  case noMount(FilePath)
  /// It is a cowmount that nobody serves.
  case dead(FilePath)
  /// The caller may not open the file for this.
  case forbidden(FilePath, MountClient.Access)
  /// The mount lets this user into nothing.
  case foreign(FilePath)
  /// The mount was made to be read only.
  case readOnly(FilePath)
  /// Its process is from before there was control.
  case mute(FilePath)
  /// Its process speaks another version; 0 where it does not say which.
  case otherVersion(FilePath, UInt32)
  /// Its process answered something that makes no sense.
  case nonsense(FilePath)
  /// The mount ended meanwhile.
  case ended(FilePath)
  /// Too many others ask.
  case busy(FilePath)
  /// Its mountpoint is a file, so there is no directory that checkpoints could be files in.
  case noDirectory(FilePath)
  /// It has no checkpoint of that name.
  case noCheckpoint(FilePath)
  /// What was asked for does not lie on the checkpoint to compare with.
  case unrelated(FilePath)
  /// What the kernel held back could not be written.
  case unwritten(FilePath, Errno)
  /// The mount did not do it.
  case failed(FilePath, Errno)

  /// One line that names the mount and the way out.
  public var description: String {
    switch self {
    case .unusable(let path, .noSuchFileOrDirectory):
      "\(path) does not exist; give a mountpoint, or the file in it (cowmount list)"
    case .unusable(let path, let error): "\(path): \(error); give a mountpoint, or the file in it (cowmount list)"
    case .foreignLink(let path, let link):
      "\(path) leads through \(link), a symbolic link of another user; give the path that it leads to"
    case .noMount(let path): "\(path) is no cowmount; give a mountpoint, or the file in it (cowmount list)"
    case .dead(let path):
      "the cowmount at \(path) is dead: its process was killed; umount \(path), or mount there again"
    case .forbidden(let path, .looking):
      "\(path) may not be read by this user, so neither may its state; ask as a user who may read it"
    case .forbidden(let path, .changing):
      "\(path) may not be written by this user, so it may not be changed; do it as a user who may write to it"
    case .foreign(let path):
      "the cowmount at \(path) lets in nobody but the user who made it; ask as that user, or mount with allow_other"
    case .readOnly(let path): "\(path) is mounted read-only, so it cannot be changed; mount it without --read-only"
    case .mute(let path):
      "the cowmount at \(path) is of an older version, which cannot be asked anything; mount it again with this one"
    case .otherVersion(let path, let version):
      """
      the cowmount at \(path) is of another version\(Self.protocols(version)); use the cowmount that made it, or mount it \
      again with this one
      """
    case .nonsense(let path):
      "the cowmount at \(path) gave an answer that makes no sense; do not trust it: umount \(path)"
    case .ended(let path): "the cowmount at \(path) ended meanwhile; mount it again"
    case .busy(let path): "the cowmount at \(path) is asked too much at once; try again"
    case .noDirectory(let path):
      "\(path) is a file, so its checkpoints are no files that could be read; mount at a directory, or take the disk as it is"
    case .noCheckpoint(let path): "\(path) has no checkpoint of that name; cowmount status \(path) lists them"
    case .unrelated(let path):
      "\(path): one does not lie on the other, so there are no changes since then; cowmount status \(path) lists the checkpoints"
    case .unwritten(let path, let error):
      "what was last written to \(path) could not be kept: \(error); see cowmount status, and write it again"
    case .failed(let path, let error): "the cowmount at \(path) could not do it: \(error); see its log"
    }
  }

  private static func protocols(_ version: UInt32) -> String {
    version == 0 ? "" : " (control protocol \(version), here \(ControlMessage.currentVersion))"
  }
}
