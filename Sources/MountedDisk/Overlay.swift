// Where what is written goes: the overlay directory, and why one cannot be used.

internal import CLinux
internal import CopyOnWrite
internal import DiskIO
internal import FuseSession
internal import Glibc
internal import SystemPackage

/// The place for an overlay, checked.
enum Overlay {
  /// Unnamed files in this directory.
  case directory(OverlayDirectory, PinnedDirectory)
  /// An unnamed file in memory.
  case memory

  /// Most bytes of an overlay in memory that the user set no limit to: half of the machine's.
  static var defaultMemory: UInt64 { UInt64(sysconf(CInt(_SC_PHYS_PAGES)) * sysconf(CInt(_SC_PAGESIZE)) / 2) }

  /// Finds the place.
  ///
  /// - Parameters:
  ///   - settings: what the user chose; by default $TMPDIR, else /var/tmp, as nbdkit's cow filter does.
  ///   - mountpoint: must not contain the directory, or the mount would hide where its own overlay is.
  init(_ settings: OverlaySettings, avoiding mountpoint: Mountpoint) throws(OverlayError) {
    guard case .directory(let directory) = settings else {
      self = .memory
      return
    }
    let temporary = getenv("TMPDIR").map { FilePath(platformString: $0) } ?? ""
    let chosen =
      if let directory {
        OverlayDirectory(path: directory)
      } else if temporary.isEmpty {
        OverlayDirectory(path: "/var/tmp")
      } else {
        OverlayDirectory(path: temporary, isFromEnvironment: true)
      }
    let resolved = try Self.check(chosen)
    if mountpoint.isDirectory, resolved.path.starts(with: mountpoint.path) {
      throw .insideMountpoint(chosen, mountpoint.path)
    }
    do {
      self = .directory(resolved, try PinnedDirectory(resolved.path))
    } catch {
      throw .unusable(resolved, error)
    }
  }

  private static func check(_ directory: OverlayDirectory) throws(OverlayError) -> OverlayDirectory {
    do {
      var resolved = directory
      resolved.path = try directory.path.resolved()
      guard try FileStatus(of: resolved.path).kind == .directory else { throw Errno.notDirectory }
      return resolved
    } catch {
      throw .unusable(directory, error as? Errno ?? .ioError)
    }
  }

  /// An empty unnamed file there.
  func scratch() throws(OverlayError) -> File {
    do throws(Errno) {
      return try another()
    } catch {
      throw .unusable(directory, error)
    }
  }

  /// As ``scratch()``, for a mount that is used already.
  func another() throws(Errno) -> File {
    switch self {
    case .directory(_, let directory): try File.scratch(in: directory.file.link)
    case .memory: try File.scratchInMemory()
    }
  }

  /// Puts an empty overlay in an empty file over `image`.
  func disk(
    over image: any BaseReader, in scratch: consuming File, geometry: Geometry, options: CowDisk.Options
  ) throws(OverlayError) -> CowDisk {
    do {
      return try CowDisk(base: image, geometry: geometry, scratch: scratch, options: options)
    } catch .fileTooLarge {
      var limit = rlimit()
      if getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0, limit.rlim_cur < image.size {
        throw .limited(image.size, limit: UInt64(limit.rlim_cur))
      }
      throw .tooLarge(directory, image.size)
    } catch {
      throw .unusable(directory, error)
    }
  }

  private var directory: OverlayDirectory {
    switch self {
    case .directory(let directory, _): directory
    case .memory: OverlayDirectory(path: "in memory")
    }
  }
}

/// A directory for overlays, as messages name it.
struct OverlayDirectory: Equatable, CustomStringConvertible {
  var path: FilePath
  /// Whether $TMPDIR says it, and not the command line.
  var isFromEnvironment = false

  var description: String { isFromEnvironment ? "\(path) (from $TMPDIR)" : path.string }
}

/// An overlay directory, wherever its path leads later.
final class PinnedDirectory: Sendable {
  let file: File

  init(_ path: FilePath) throws(Errno) {
    file = try File.open(path, in: AT_FDCWD, clinux_o_path | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
  }
}

/// An overlay directory that cannot be used.
enum OverlayError: Error, Equatable, CustomStringConvertible {
  case unusable(OverlayDirectory, Errno)
  case insideMountpoint(OverlayDirectory, FilePath)
  case tooLarge(OverlayDirectory, UInt64)
  case limited(UInt64, limit: UInt64)

  var description: String {
    switch self {
    case .unusable(let path, .noSuchFileOrDirectory):
      "overlay directory \(path) does not exist; create it, or choose another with --overlay-dir"
    case .unusable(let path, .noSpace), .unusable(let path, .diskQuotaExceeded):
      "overlay directory \(path) is on a full file system; free some space, or choose another with --overlay-dir"
    case .unusable(let path, let error):
      "overlay directory \(path) cannot be used: \(error); choose another with --overlay-dir"
    case .insideMountpoint(let path, let mountpoint):
      "overlay directory \(path) is inside the mountpoint \(mountpoint); choose another with --overlay-dir"
    case .limited(let size, let limit):
      """
      the overlay must be a file of \(size) bytes, and files of this process may have \(limit); raise the limit (ulimit -f)
      """
    case .tooLarge(let path, let size):
      """
      the file system of the overlay directory \(path) cannot hold a sparse file of \(size) bytes; choose one that can \
      (xfs, btrfs) with --overlay-dir
      """
    }
  }
}
