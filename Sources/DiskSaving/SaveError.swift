// Why a disk cannot be saved: one line each, with the thing, the reason and the way out.

public import MountControl
public import SystemPackage

/// A disk that could not be saved. Nothing was left behind.
public enum SaveError: Error, CustomStringConvertible {
  /// The mount cannot be asked, or ended meanwhile.
  case mount(ControlError)
  /// The mount refused to hold the disk still; in its words.
  case refused(String)
  /// Somebody has the exposed file open for writing, and the caller cannot have the disk held still.
  case written(FilePath, [MountUser])
  /// Somebody has opened it for writing meanwhile.
  case writtenMeanwhile(FilePath)
  /// The exposed file cannot be read.
  case unreadable(FilePath, Errno)
  /// The file to save to is there.
  case exists(FilePath)
  /// It is there, and no regular file.
  case noRegularFile(FilePath)
  /// It is the image.
  case isImage(FilePath)
  /// It lies on the mount.
  case onMount(FilePath, mountpoint: FilePath)
  /// It cannot be made or written.
  case unwritable(FilePath, Errno)
  /// qcow2 cannot name what lies below.
  case unnameable(String, reason: String)
  /// One of QEMU's programs is not installed.
  case noProgram(String)
  /// One of QEMU's programs failed; its own words.
  case failed(String, words: String)

  /// One line that names the thing and the way out.
  public var description: String {
    switch self {
    case .mount(let error): "\(error); nothing was saved"
    case .refused(let words): "\(words); nothing was saved"
    case .written(let path, let users):
      """
      \(path) is open for writing\(Self.by(users)); what was saved would be no state that it ever had, so end that first, or \
      save as a user who may make a checkpoint of a mount that is a directory
      """
    case .writtenMeanwhile(let path):
      "\(path) was opened for writing while it was saved, so nothing was saved; save again when nobody writes to it"
    case .unreadable(let path, .socketNotConnected), .unreadable(let path, .connectionAbort):
      "the cowmount of \(path) ended meanwhile; nothing was saved"
    case .unreadable(let path, let error):
      "cannot read \(path): \(error); nothing was saved, see the log of the mount"
    case .exists(let path): "\(path) is there; choose another name, or replace it with --force"
    case .noRegularFile(let path): "\(path) is there and no regular file; choose another name"
    case .isImage(let path): "\(path) is the image of the mount, which is never written; choose another name"
    case .onMount(let path, let mountpoint):
      "\(path) lies on the mount that is to be saved (\(mountpoint)); choose a place elsewhere"
    case .unwritable(let path, .noSuchFileOrDirectory):
      "\(path) cannot be made: its directory does not exist; create it, or choose another"
    case .unwritable(let path, let error) where error.isOutOfSpaceForSaving:
      "\(path): \(error); nothing was saved, so free some space, or choose a place on another file system"
    case .unwritable(let path, let error): "\(path) cannot be written: \(error); choose another place"
    case .unnameable(let source, let reason):
      "\(source) cannot be the backing file of a qcow2 file: \(reason); save all of the disk with --full"
    case .noProgram(let name): "saving needs \(name), which is not installed; install the package qemu-utils"
    case .failed(let program, let words): "\(program) could not save the disk: \(words); nothing was saved"
    }
  }

  /// Who uses it, in parentheses.
  static func by(_ users: [MountUser]) -> String {
    users.isEmpty
      ? " by somebody whom this user cannot see" : " (in use by \(users.map(\.words).joined(separator: ", ")))"
  }
}

extension Errno {
  /// Whether there is no room for the file.
  fileprivate var isOutOfSpaceForSaving: Bool { [.noSpace, .diskQuotaExceeded, .fileTooLarge].contains(self) }
}
