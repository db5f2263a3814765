// What a file system answers. Each method's comment is its specification: what the kernel has checked before, what it does
// on its own, and what the answer must be.

import DiskIO
import CFuse
import Glibc
import SystemPackage

/// The inode number of the mount's root.
public let rootInode: UInt64 = UInt64(FUSE_ROOT_ID)

/// Memory that belongs to the thread that serves a request, for putting an answer together. Valid during the call.
public struct AnswerBuffer {
  /// Room for the largest read, in bytes.
  public static let size = 1 << 20

  /// Room for the bytes of an answer.
  public let bytes: UnsafeMutableRawBufferPointer
  /// Room for a list of where the bytes are.
  public let vectors: UnsafeMutableBufferPointer<iovec>
}

/// Which attributes a setattr changes.
public struct AttributeChanges: OptionSet, Sendable {
  /// libfuse's FUSE_SET_ATTR_* bits.
  public let rawValue: CInt

  /// Creates the set from libfuse's bits.
  public init(rawValue: CInt) {
    self.rawValue = rawValue
  }

  /// chmod.
  public static let mode = AttributeChanges(rawValue: FUSE_SET_ATTR_MODE)
  /// chown, the user.
  public static let user = AttributeChanges(rawValue: FUSE_SET_ATTR_UID)
  /// chown, the group.
  public static let group = AttributeChanges(rawValue: FUSE_SET_ATTR_GID)
  /// truncate.
  public static let size = AttributeChanges(rawValue: FUSE_SET_ATTR_SIZE)
  /// utimens, access.
  public static let accessTime = AttributeChanges(rawValue: FUSE_SET_ATTR_ATIME)
  /// utimens, modification.
  public static let modificationTime = AttributeChanges(rawValue: FUSE_SET_ATTR_MTIME)
  /// The access time is now.
  public static let accessTimeNow = AttributeChanges(rawValue: FUSE_SET_ATTR_ATIME_NOW)
  /// The modification time is now.
  public static let modificationTimeNow = AttributeChanges(rawValue: FUSE_SET_ATTR_MTIME_NOW)
  /// The kernel keeps the change time (writeback cache) and hands it down.
  public static let changeTime = AttributeChanges(rawValue: FUSE_SET_ATTR_CTIME)
}

/// What a file was opened for.
public struct OpenMode: OptionSet, Sendable {
  /// One bit for each.
  public let rawValue: UInt8

  /// Creates the set from its bits.
  public init(rawValue: UInt8) {
    self.rawValue = rawValue
  }

  /// Reading.
  public static let reading = OpenMode(rawValue: 1)
  /// Writing.
  public static let writing = OpenMode(rawValue: 2)
}

/// An ioctl(2) on an open file.
public struct ControlCall {
  /// Its number, which says how many bytes come with it (ioctl(2)).
  public let command: UInt32
  /// What came with it. Valid during the call.
  public let input: UnsafeRawBufferPointer
  /// What the caller opened the file for.
  public let mode: OpenMode
  /// Most bytes of an answer.
  public let room: Int
}

/// What statfs(2) tells, in units of ``unit`` bytes.
public struct FileSystemStatistics: Sendable {
  /// Bytes a unit.
  public static let unit: UInt64 = 4096

  /// Size.
  public var total: UInt64
  /// Not in use.
  public var free: UInt64
  /// What an ordinary user may still write.
  public var available: UInt64

  /// Creates the numbers.
  public init(total: UInt64, free: UInt64, available: UInt64) {
    self.total = total
    self.free = free
    self.available = available
  }
}

/// The requests of a mount. Subclasses override what they serve; each call answers its request exactly once.
///
/// A class and not a protocol: libfuse's callbacks carry one pointer, and from that to the override is a single indirect
/// call without retain, release or existential box. Calls come from several threads at once.
///
/// Creating, removing and renaming are refused (EPERM) by the session itself; what is missing here (fsync, xattr …)
/// is answered with ENOSYS once, whereupon the kernel treats it as done and does not ask again.
open class FileSystem: @unchecked Sendable {
  // SAFETY: no stored properties. Subclasses answer for theirs.

  /// Creates a file system that answers nothing.
  public init() {}

  /// Finds `name` in the directory `parent`: answer an entry or that there is none.
  open func lookUp(_ request: consuming Request, name: UnsafePointer<CChar>, in parent: UInt64) {
    request.replyNoEntry()
  }

  /// Answers the attributes of `inode`.
  open func getAttributes(_ request: consuming Request, inode: UInt64) {
    request.fail(.noSuchFileOrDirectory)
  }

  /// Changes attributes and answers all of them as they are then. With default_permissions the kernel has checked that
  /// the caller may. A change of size arrives when no write is under way, and the kernel drops its pages beyond.
  open func setAttributes(
    _ request: consuming Request, inode: UInt64, to new: InodeAttributes, changes: AttributeChanges
  ) {
    request.fail(.notImplemented)
  }

  /// Lists the directory from the entry number `position` on, into at most `size` bytes; nothing when there are no more.
  open func readDirectory(
    _ request: consuming Request, inode: UInt64, from position: Int, size: Int, answer: AnswerBuffer
  ) {
    request.fail(.notDirectory)
  }

  /// Answers `size` bytes (at most ``AnswerBuffer/size``) from `offset` on, fewer only at the end of the file.
  open func read(_ request: consuming Request, inode: UInt64, offset: UInt64, size: Int, answer: AnswerBuffer) {
    request.fail(.isDirectory)
  }

  /// Takes all of `bytes` at `offset`, which may be beyond the end of the file: then the file grows.
  ///
  /// - Parameter wasHeldBack: whether the writer has had its answer, and the bytes come from the kernel's cache.
  open func write(
    _ request: consuming Request, inode: UInt64, offset: UInt64, bytes: UnsafeRawBufferPointer, wasHeldBack: Bool
  ) {
    request.fail(.isDirectory)
  }

  /// fallocate(2) with its `mode` bits.
  open func allocate(_ request: consuming Request, inode: UInt64, mode: CInt, offset: UInt64, count: UInt64) {
    request.fail(.notSupported)
  }

  /// lseek(2) with SEEK_DATA or SEEK_HOLE. Pages that the kernel has not written back yet are unknown here.
  open func seek(_ request: consuming Request, inode: UInt64, offset: UInt64, whence: CInt) {
    request.fail(.invalidArgument)
  }

  /// ioctl(2). The caller may be anybody who can open the file, and the bytes are the caller's. May be answered later, by
  /// another thread, and then keeps no worker from its work.
  open func control(_ request: consuming Request, inode: UInt64, _ call: ControlCall) {
    request.fail(.inappropriateIOCTLForDevice)
  }

  /// statfs(2).
  open func statistics(_ request: consuming Request) {
    request.fail(.notImplemented)
  }
}
