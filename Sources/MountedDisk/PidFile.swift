// --pid-file: which process to send signals to.

internal import CLinux
internal import DiskIO
internal import FuseSession
internal import Glibc
internal import SystemPackage

/// A file that has the process id of a mount's keeper for as long as the mount can be used. Its directory is looked for once.
final class PidFile {
  private let path: FilePath
  private let directory: File
  private let name: FilePath
  /// What was written, by which it is known from another that somebody put in its place.
  private var written: FileIdentity?

  /// Finds the place.
  ///
  /// - Parameter mountpoint: must not contain the file, or the mount would hide it.
  init(_ path: FilePath, avoiding mountpoint: Mountpoint) throws(PidFileError) {
    self.path = path
    guard let last = path.lastComponent, last.kind == .regular else { throw .unusable(path, .isDirectory) }
    name = FilePath(root: nil, [last])
    let parent = path.removingLastComponent()
    do {
      directory = try File.open(
        parent.isEmpty ? "." : parent, in: AT_FDCWD, clinux_o_path | O_DIRECTORY | O_CLOEXEC)
    } catch {
      throw .unusable(path, error)
    }
    if let parent = directory.path, parent.appending(last).starts(with: mountpoint.path) {
      throw .insideMountpoint(path, mountpoint.path)
    }
    if let present = try? File.place(name, in: directory.descriptor), let status = try? present.status(),
      status.kind != .regular
    {
      throw .noRegularFile(path)
    }
  }

  /// Writes it as a whole: who reads it finds all of it, or what was there before.
  func write() throws(PidFileError) {
    let draft = FilePath(".cowmount-\(getpid())-\(UInt32.random(in: 0...UInt32.max))")
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
    let descriptor = draft.withPlatformString { openat(directory.descriptor, $0, flags, 0o644) }
    guard descriptor != -1 else { throw .unusable(path, .current) }
    let file = File(adopting: descriptor)
    do throws(Errno) {
      let text = "\(getpid())\n"
      guard Glibc.write(descriptor, text, text.utf8.count) == text.utf8.count else { throw .current }
      let identity = try file.status().identity
      let result = draft.withPlatformString { draft in
        name.withPlatformString { renameat(directory.descriptor, draft, directory.descriptor, $0) }
      }
      guard result == 0 else { throw .current }
      written = identity
    } catch {
      _ = draft.withPlatformString { unlinkat(directory.descriptor, $0, 0) }
      throw .unusable(path, error)
    }
  }

  /// Removes it, unless somebody has put another in its place.
  func remove() {
    guard let written, let present = try? File.place(name, in: directory.descriptor),
      (try? present.status().identity) == written
    else { return }
    _ = name.withPlatformString { unlinkat(directory.descriptor, $0, 0) }
    self.written = nil
  }
}

/// A file for the process id that cannot be used.
enum PidFileError: Error, CustomStringConvertible {
  case unusable(FilePath, Errno)
  case noRegularFile(FilePath)
  case insideMountpoint(FilePath, FilePath)

  var description: String {
    switch self {
    case .unusable(let path, .noSuchFileOrDirectory):
      "pid file \(path): its directory does not exist; create it, or choose another with --pid-file"
    case .unusable(let path, let error):
      "pid file \(path) cannot be written: \(error); choose another with --pid-file"
    case .noRegularFile(let path):
      "pid file \(path) is there and no regular file; choose another with --pid-file"
    case .insideMountpoint(let path, let mountpoint):
      "pid file \(path) is inside the mountpoint \(mountpoint); choose another with --pid-file"
    }
  }
}
