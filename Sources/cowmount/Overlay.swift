// Where what is written goes: the overlay directory, and why one cannot be used.

internal import ArgumentParser
internal import BaseImage
internal import CopyOnWrite
internal import DiskIO
internal import FuseSession
internal import Glibc
internal import SystemPackage

/// The place for an overlay, checked.
enum Overlay {
  /// An unnamed file in this directory.
  case directory(FilePath)
  /// An unnamed file in memory.
  case memory

  /// Most bytes of an overlay in memory that the user set no limit to: half of the machine's.
  static var defaultMemory: UInt64 { UInt64(sysconf(CInt(_SC_PHYS_PAGES)) * sysconf(CInt(_SC_PAGESIZE)) / 2) }

  /// Finds the directory.
  ///
  /// - Parameters:
  ///   - directory: what the user chose; by default $TMPDIR, else /var/tmp, as nbdkit's cow filter does.
  ///   - mountpoint: must not contain the directory, or the mount would hide where its own overlay is.
  init(directory: String?, avoiding mountpoint: Mountpoint) throws(OverlayError) {
    let chosen = Self.chosen(directory)
    let resolved = try Self.check(chosen)
    if mountpoint.isDirectory, resolved.starts(with: mountpoint.path) {
      throw .insideMountpoint(chosen, mountpoint.path)
    }
    self = .directory(resolved)
  }

  private static func chosen(_ directory: String?) -> FilePath {
    let temporary = getenv("TMPDIR").map { String(cString: $0) } ?? ""
    return FilePath(directory ?? (temporary.isEmpty ? "/var/tmp" : temporary))
  }

  /// An empty unnamed file where the overlay will be, before it is known where the mount is.
  static func scratch(directory: String?, inMemory: Bool) throws(Errno) -> File {
    inMemory ? try File.scratchInMemory() : try File.scratch(in: chosen(directory))
  }

  private static func check(_ directory: FilePath) throws(OverlayError) -> FilePath {
    do {
      let resolved = try directory.resolved()
      guard try FileStatus(of: resolved).kind == .directory else { throw Errno.notDirectory }
      return resolved
    } catch {
      throw .unusable(directory, error as? Errno ?? .ioError)
    }
  }

  /// Puts an empty overlay over `image`.
  func disk(
    over image: any BaseReader, blockSize: Int, options: CowDisk.Options
  ) throws(OverlayError) -> CowDisk {
    guard let geometry = Geometry(blockSize: blockSize) else { preconditionFailure("validate() checks it") }
    do {
      return try CowDisk(base: image, geometry: geometry, scratch: try scratch(), options: options)
    } catch .fileTooLarge {
      throw .tooLarge(path, image.size)
    } catch {
      throw .unusable(path, error)
    }
  }

  private var path: FilePath {
    switch self {
    case .directory(let path): path
    case .memory: "in memory"
    }
  }

  private func scratch() throws(Errno) -> File {
    switch self {
    case .directory(let path): try File.scratch(in: path)
    case .memory: try File.scratchInMemory()
    }
  }
}

/// An overlay directory that cannot be used.
enum OverlayError: Error, Equatable, CustomStringConvertible {
  case unusable(FilePath, Errno)
  case insideMountpoint(FilePath, FilePath)
  case tooLarge(FilePath, UInt64)

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
    case .tooLarge(let path, let size):
      """
      the file system of the overlay directory \(path) cannot hold a sparse file of \(size) bytes; choose one that can \
      (xfs, btrfs) with --overlay-dir
      """
    }
  }
}
