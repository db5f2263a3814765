// --cow-on-read-while: whether there is a file at a path, for a process that may not look. The keeper looks when something
// happens in the file's directory (inotify(7)), and the answer is a byte that both processes see.

internal import DiskIO
internal import FuseSession
internal import Glibc
internal import Synchronization
internal import SystemPackage

/// Whether there is a file at a path.
final class CopyCondition: Sendable {
  private let parent: File
  private let name: FilePath
  private let events: File
  /// In memory that the processes share.
  // SAFETY: mapped for as long as the process lives, and changed by atomic operations only.
  nonisolated(unsafe) private let answer: UnsafeMutablePointer<Atomic<Bool>>

  /// Begins to look.
  ///
  /// - Parameter mountpoint: must not contain the path, or the keeper would wait for an answer of its own mount.
  init(_ path: FilePath, avoiding mountpoint: Mountpoint) throws(CopyConditionError) {
    do throws(Errno) {
      let resolved = try path.resolvingParent()
      guard let name = resolved.lastComponent else { throw .isDirectory }
      if resolved.starts(with: mountpoint.path) { throw .wouldBlock }
      parent = try File.place(resolved.removingLastComponent())
      self.name = FilePath(root: nil, [name])
      let descriptor = inotify_init1(CInt(IN_CLOEXEC | IN_NONBLOCK))
      guard descriptor != -1 else { throw .current }
      events = File(adopting: descriptor)
      let kinds = UInt32(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)
      let watch = parent.link.withPlatformString { inotify_add_watch(descriptor, $0, kinds) }
      guard watch != -1 else { throw .current }
      let page = mmap(nil, sysconf(CInt(_SC_PAGESIZE)), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
      guard let page, page != MAP_FAILED else { throw .current }
      answer = page.bindMemory(to: Atomic<Bool>.self, capacity: 1)
      answer.initialize(to: Atomic(false))
    } catch .wouldBlock {
      throw .insideMountpoint(path, mountpoint.path)
    } catch {
      throw .unusable(path, error)
    }
    look()
  }

  /// What the keeper polls for reading, to ``look()``.
  var descriptor: CInt { events.descriptor }

  /// Looks whether there is a file, now that something happened. A link is not followed: it could lead into the mount.
  func look() {
    var buffer = [UInt8](repeating: 0, count: 4096)
    while read(events.descriptor, &buffer, buffer.count) > 0 {}
    answer.pointee.store((try? File.place(name, in: parent.descriptor)) != nil, ordering: .relaxed)
  }

  /// Whether there is one, for the process that reads.
  var holds: Bool { answer.pointee.load(ordering: .relaxed) }
}

/// A path that cannot be looked at.
enum CopyConditionError: Error, Equatable, CustomStringConvertible {
  case unusable(FilePath, Errno)
  case insideMountpoint(FilePath, FilePath)

  var description: String {
    switch self {
    case .unusable(let path, let error):
      "the directory of --cow-on-read-while \(path) cannot be used: \(error); create it, or choose another path"
    case .insideMountpoint(let path, let mountpoint):
      "--cow-on-read-while \(path) is inside the mountpoint \(mountpoint); choose a path outside of it"
    }
  }
}
