// An owned file descriptor: opened once, closed when its owner goes away. Every call here retries EINTR and throws the
// bare errno; naming the file in a message is left to who knows what the file is for.

public import SystemPackage

internal import CLinux
public import Glibc

/// A file descriptor with exactly one owner.
public struct File: ~Copyable, Sendable {
  /// The descriptor, for calls that this type does not wrap. It stays owned by this value.
  public let descriptor: CInt

  #if DEBUG
    /// What tests make of calls on this file (Faults.swift).
    var faults: Faults?
  #endif

  /// Takes over an open descriptor.
  public init(adopting descriptor: CInt) {
    self.descriptor = descriptor
  }

  deinit {
    close(descriptor)
  }

  /// Opens `path` for reading, close-on-exec, and where the caller may (owner of the file, or privileged) without
  /// moving its access time: looking at evidence must not change it. A pipe is opened without waiting for its other end.
  public static func openReadOnly(_ path: FilePath) throws(Errno) -> File {
    var file: File
    do {
      file = try open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | clinux_o_noatime)
    } catch .notPermitted {
      file = try open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    }
    file.takeFaultsOfProcess(.base)
    return file
  }

  static func open(_ path: FilePath, _ flags: CInt, mode: mode_t = 0) throws(Errno) -> File {
    let descriptor = try retryingInterrupts { path.withPlatformString { Glibc.open($0, flags, mode) } }
    return File(adopting: descriptor)
  }
}

/// A point in time, since 1970.
public struct Timestamp: Equatable, Sendable {
  /// Whole seconds.
  public let seconds: Int
  /// Nanoseconds, 0 to 999,999,999.
  public let nanoseconds: Int

  /// Takes over what a system call told.
  public init(_ raw: timespec) {
    seconds = raw.tv_sec
    nanoseconds = raw.tv_nsec
  }

  /// The present, by the wall clock.
  public static var now: Timestamp {
    var now = Glibc.timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Timestamp(now)
  }

  /// As system calls want it.
  public var timespec: Glibc.timespec { Glibc.timespec(tv_sec: seconds, tv_nsec: nanoseconds) }
}

/// Which file it is, whatever it is called.
public struct FileIdentity: Equatable, Sendable {
  /// The device number of its file system.
  public let device: UInt64
  /// Its inode number.
  public let inode: UInt64
}

/// What `stat(2)` tells of an open file, as far as cowmount asks.
public struct FileStatus: Sendable {
  /// What kind of file it is.
  public enum Kind: Sendable {
    case regular, directory, blockDevice, symbolicLink, other
  }

  /// What kind of file it is.
  public let kind: Kind
  /// Length in bytes; 0 for a block device.
  public let size: UInt64
  /// Space in use, in units of 512 bytes.
  public let sectors: UInt64
  /// Space in use, in bytes.
  public var space: UInt64 { sectors.multipliedSaturated(by: 512) }
  /// Permission bits (`0o7777`).
  public let permissions: mode_t
  /// Owner.
  public let user: uid_t
  /// Group.
  public let group: gid_t
  /// Last change of the content.
  public let modified: Timestamp
  /// Last change of the inode.
  public let changed: Timestamp
  /// The file system that the file is on, and the file's number there: together no other file's.
  public let identity: FileIdentity

  init(_ raw: stat) {
    kind =
      switch raw.st_mode & S_IFMT {
      case S_IFREG: .regular
      case S_IFDIR: .directory
      case S_IFBLK: .blockDevice
      case S_IFLNK: .symbolicLink
      default: .other
      }
    size = UInt64(clamping: raw.st_size)
    sectors = UInt64(clamping: raw.st_blocks)
    permissions = raw.st_mode & 0o7777
    user = raw.st_uid
    group = raw.st_gid
    modified = Timestamp(raw.st_mtim)
    changed = Timestamp(raw.st_ctim)
    identity = FileIdentity(device: UInt64(raw.st_dev), inode: UInt64(raw.st_ino))
  }

  /// What a regular file would have that the caller creates now, for nobody else, and fills with `size` bytes.
  public init(ofNewFileWithSize size: UInt64) {
    kind = .regular
    self.size = size
    sectors = size / 512 + (size % 512 == 0 ? 0 : 1)
    permissions = 0o600
    user = geteuid()
    group = getegid()
    modified = .now
    changed = modified
    identity = FileIdentity(device: 0, inode: 0)
  }

  /// The status of what `path` leads to, a symbolic link at its end followed or not.
  public init(of path: FilePath, followingLinks: Bool = true) throws(Errno) {
    var raw = stat()
    let flags = followingLinks ? 0 : AT_SYMLINK_NOFOLLOW
    _ = try retryingInterrupts { path.withPlatformString { fstatat(AT_FDCWD, $0, &raw, flags) } }
    self.init(raw)
  }
}

extension File {
  /// The status of the open file.
  public func status() throws(Errno) -> FileStatus {
    var raw = stat()
    _ = try retryingInterrupts { fstat(descriptor, &raw) }
    return FileStatus(raw)
  }

  /// The size of an open block device in bytes.
  public func blockDeviceSize() throws(Errno) -> UInt64 {
    var bytes: UInt64 = 0
    _ = try retryingInterrupts { clinux_block_device_size(descriptor, &bytes) }
    return bytes
  }
}

/// The system calls on an open file that tests can single out to fail; `store` is a store into its mapping.
enum FileCall: String, CaseIterable {
  case read, write, store, seek, reserve, punch, resize
}

/// What a file is for, where tests tell files apart.
enum FileRole: String, CaseIterable {
  case base, overlay
}

extension File {
  /// Makes a system call for up to `count` bytes (where it has any) until it is not interrupted, and turns -1 into the
  /// errno it left.
  @inline(__always)
  func attempt<Result: BinaryInteger>(
    _ which: FileCall, count: Int = 0, _ call: (_ count: Int) -> Result
  ) throws(Errno) -> Result {
    #if DEBUG
      if let faults { return try faults.attempt(which, count: count, call) }
    #endif
    return try retryingInterrupts { call(count) }
  }

  /// Does nothing but in a debug build that was told to fail.
  @inline(__always)
  mutating func takeFaultsOfProcess(_ role: FileRole) {
    #if DEBUG
      faults = Faults.ofProcess(role)
    #endif
  }
}

extension Errno {
  /// Whether it says that there is no space left, on the file system or of the user's share of it.
  public var isOutOfSpace: Bool { self == .noSpace || self == .diskQuotaExceeded }

  /// What the last failed call of this thread left.
  public static var current: Errno { Errno(rawValue: errno) }

  /// ENOSYS: the kernel, or whoever serves a file system, has no such call. (EOPNOTSUPP is `notSupported`, which has the same
  /// number on Linux.)
  public static var notImplemented: Errno { .noFunction }
}

/// Makes a system call until it is not interrupted by a signal, and turns -1 into the errno it left.
@inline(__always)
func retryingInterrupts<Result: BinaryInteger>(_ call: () -> Result) throws(Errno) -> Result {
  while true {
    let result = call()
    if result != -1 { return result }
    if errno != EINTR { throw .current }
  }
}
