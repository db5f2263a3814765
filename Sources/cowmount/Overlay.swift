// Where what is written goes: the overlay directory, and why one cannot be used.

internal import ArgumentParser
internal import BaseImage
internal import CopyOnWrite
internal import DiskIO
internal import FuseSession
internal import Glibc
internal import SystemPackage

/// The directory for an overlay, checked.
struct Overlay {
  private let directory: FilePath

  /// Finds the directory.
  ///
  /// - Parameters:
  ///   - directory: what the user chose; by default $TMPDIR, else /var/tmp, as nbdkit's cow filter does.
  ///   - mountpoint: must not contain the directory, or the mount would hide where its own overlay is.
  init(directory: String?, avoiding mountpoint: Mountpoint) throws(OverlayError) {
    let temporary = getenv("TMPDIR").map { String(cString: $0) } ?? ""
    let chosen = FilePath(directory ?? (temporary.isEmpty ? "/var/tmp" : temporary))
    do {
      self.directory = try chosen.resolved()
      guard try FileStatus(of: self.directory).kind == .directory else {
        throw OverlayError.unusable(chosen, .notDirectory)
      }
    } catch let error as OverlayError {
      throw error
    } catch let error as Errno {
      throw .unusable(chosen, error)
    } catch {
      preconditionFailure("nothing else is thrown: \(error)")
    }
    if mountpoint.isDirectory, self.directory.starts(with: mountpoint.path) {
      throw .insideMountpoint(chosen, mountpoint.path)
    }
  }

  /// Puts an empty overlay over `image`.
  func disk(over image: any BaseReader, blockSize: Int) throws(OverlayError) -> CowDisk {
    guard let geometry = Geometry(blockSize: blockSize) else { preconditionFailure("validate() checks it") }
    do {
      return try CowDisk(base: image, geometry: geometry, scratch: try File.scratch(in: directory))
    } catch .fileTooLarge {
      throw .tooLarge(directory, image.size)
    } catch {
      throw .unusable(directory, error)
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
