// What a user means by MOUNT: the mountpoint, or the file in it. The path is followed once; the kernel's mount table says
// whether what is there is a cowmount, and everything else is done to what was found, since whoever serves it may answer
// what he likes.

public import DiskIO
internal import FuseSession
internal import Glibc
public import SystemPackage

/// The number of the exposed file where the mount is a directory; else it is the mount's root.
public let exposedFileInode: UInt64 = rootInode + 1

/// A place on a cowmount.
public struct MountPlace: ~Copyable {
  /// The path that led here.
  public let path: FilePath
  /// The mount.
  public let entry: MountTableEntry
  let walk: PathWalk

  /// The type in the mount table.
  public static let type = "fuse.cowmount"

  /// Most entries of a directory that are looked through.
  private static let mostEntries = 1 << 16

  /// Finds the mount at a path. Nobody may serve it any more.
  ///
  /// - Throws: ``ControlError`` where there is none.
  public init(_ path: FilePath) throws(ControlError) {
    let walk: PathWalk
    do {
      walk = try PathWalk(path)
    } catch {
      switch error {
      case .unusable(.socketNotConnected), .unusable(.connectionAbort): throw .dead(path)
      // A path without a last name: the root.
      case .unusable(.invalidArgument): throw .noMount(path)
      case .unusable(let error): throw .unusable(path, error)
      case .foreignLink(let link): throw .foreignLink(path, link)
      }
    }
    guard let id = try? walk.place.mountID(), let entry = try? MountTable().entry(id: id), entry.type == Self.type
    else {
      throw .noMount(path)
    }
    self.path = path
    self.entry = entry
    self.walk = walk
  }

  /// Opens the exposed file.
  func open(for access: MountClient.Access) throws(ControlError) -> File {
    if walk.place.isOnDeadMount { throw .dead(path) }
    let isDirectory: Bool
    do {
      isDirectory = try walk.place.status().kind == .directory
    } catch {
      throw error == .permissionDenied ? .foreign(path) : reason(error, access)
    }
    do throws(Errno) {
      let flags = (access == .looking ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK
      guard isDirectory else { return try File.open(walk.place.link, in: AT_FDCWD, flags) }
      guard let name = try Self.fileName(in: walk.place) else { throw .noSuchFileOrDirectory }
      // Looked at first: on a mount of root's, opening a device would be doing something to it.
      let file = try File.place(name, in: walk.place.descriptor)
      guard try file.status().kind == .regular, try file.mountID() == entry.id else { throw .noSuchFileOrDirectory }
      return try File.open(file.link, in: AT_FDCWD, flags)
    } catch {
      throw reason(error, access)
    }
  }

  private func reason(_ error: Errno, _ access: MountClient.Access) -> ControlError {
    switch error {
    case .socketNotConnected, .connectionAbort: .dead(path)
    case .permissionDenied, .notPermitted: .forbidden(path, access)
    case .readOnlyFileSystem: .readOnly(path)
    case .noSuchFileOrDirectory, .ioError: .nonsense(path)
    default: .unusable(path, error)
    }
  }

  /// Opens the file of a checkpoint, beside the exposed one.
  func open(_ checkpoint: CheckpointName) throws(ControlError) -> File {
    do throws(Errno) {
      let directory = try directory()
      guard let name = try Self.fileName(in: directory) else { throw .ioError }
      let file = try File.place(FilePath(carriedBy: name.carrier + "@\(checkpoint)"), in: directory.descriptor)
      guard try file.status().kind == .regular, try file.mountID() == entry.id else { throw .ioError }
      return try File.open(file.link, in: AT_FDCWD, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    } catch {
      switch error {
      case .notDirectory: throw .noDirectory(path)
      case .noSuchFileOrDirectory: throw .noCheckpoint(path)
      default: throw reason(error, .looking)
      }
    }
  }

  /// The directory that has the exposed file.
  ///
  /// - Throws: `.notDirectory` where the mountpoint is that file.
  func directory() throws(Errno) -> File {
    if try walk.place.status().kind == .directory { return try File.place(".", in: walk.place.descriptor) }
    guard try walk.parent.mountID() == entry.id else { throw .notDirectory }
    return try File.place(".", in: walk.parent.descriptor)
  }

  /// What the directory calls the exposed file: it has other entries where there are checkpoints.
  private static func fileName(in directory: borrowing File) throws(Errno) -> FilePath? {
    let descriptor = openat(directory.descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor != -1 else { throw .current }
    guard let directory = fdopendir(descriptor) else {
      defer { close(descriptor) }
      throw .current
    }
    defer { closedir(directory) }
    for _ in 0..<mostEntries {
      errno = 0
      guard let entry = readdir(directory) else {
        if errno != 0 { throw .current }
        return nil
      }
      if entry.pointee.d_ino == exposedFileInode {
        return withUnsafeBytes(of: &entry.pointee.d_name) { FilePath(bytes: $0.prefix { $0 != 0 }) }
      }
    }
    return nil
  }
}
