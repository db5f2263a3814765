// Places in the file system: descriptors that stand for whatever is there (O_PATH), so that a path is followed once and what
// is done afterwards is done to what was found.

public import Glibc
public import SystemPackage

internal import CLinux

extension File {
  /// Pins what is at `path`, without access to it and without following a symbolic link at its end. Where something is
  /// mounted there, that is what is pinned.
  ///
  /// - Parameter directory: the open directory that a relative path begins in; the current one where it is left out.
  public static func place(_ path: FilePath, in directory: CInt = AT_FDCWD) throws(Errno) -> File {
    try open(path, in: directory, clinux_o_path | O_NOFOLLOW | O_CLOEXEC)
  }

  /// Opens `path` with open(2)'s flags, to which O_CLOEXEC should belong.
  ///
  /// - Parameter directory: the open directory that a relative path begins in.
  public static func open(_ path: FilePath, in directory: CInt, _ flags: CInt) throws(Errno) -> File {
    File(adopting: try retryingInterrupts { path.withPlatformString { openat(directory, $0, flags) } })
  }

  /// A path that leads to just this file for as long as it is open in this process, for calls that take no descriptor.
  public var link: FilePath { FilePath("/proc/self/fd/\(descriptor)") }

  /// Where the file is now; nil where that cannot be said, such as for one in another mount namespace.
  public var path: FilePath? {
    let path = try? Self.target { [link] buffer, count in link.withPlatformString { readlink($0, buffer, count) } }
    return path.flatMap { $0.isAbsolute ? $0 : nil }
  }

  /// What a pinned symbolic link leads to, as it is written in it.
  public func linkTarget() throws(Errno) -> FilePath {
    try Self.target { buffer, count in readlinkat(descriptor, "", buffer, count) }
  }

  /// - Parameter read: readlink(2) into a buffer of a length.
  private static func target(_ read: (UnsafeMutablePointer<CChar>, Int) -> Int) throws(Errno) -> FilePath {
    // PATH_MAX, which is the most that a link can hold.
    let buffer = UnsafeMutablePointer<CChar>.allocate(capacity: 4097)
    defer { buffer.deallocate() }
    let count = try retryingInterrupts { read(buffer, 4096) }
    buffer[count] = 0
    return FilePath(platformString: buffer)
  }

  /// The number of the mount that the file is reached through, as the first field of /proc/self/mountinfo has it.
  public func mountID() throws(Errno) -> UInt64 {
    let lines = try File.readText(FilePath("/proc/self/fdinfo/\(descriptor)")).split(separator: "\n")
    guard let line = lines.first(where: { $0.hasPrefix("mnt_id:") }), let id = UInt64(line.drop { !$0.isNumber })
    else { throw .notImplemented }
    return id
  }

  /// Whether it is a directory that the kernel has somebody mount as soon as it is entered (autofs), and nobody has yet.
  public var isAutomount: Bool { clinux_is_automount(descriptor) == 1 }

  /// Whether nobody serves the file system that the file is on any more: a FUSE mount whose server was killed.
  ///
  /// Asked with fstatvfs(3): attributes the kernel remembers, and answers for the dead.
  public var isOnDeadMount: Bool {
    var status = statvfs()
    return fstatvfs(descriptor, &status) == -1 && [ENOTCONN, ECONNABORTED].contains(errno)
  }
}
