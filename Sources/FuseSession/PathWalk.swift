// Following a path once, component by component, to descriptors that stay what they are whatever becomes of the path.
//
// As root, a symbolic link is followed only where none but root and the caller can have put it: else whoever owns a directory
// on the way could send root's mount wherever he likes. (The kernel's own rule, fs.protected_symlinks in proc(5), is for
// directories that everybody may write to.)

import DiskIO
import Glibc
import SystemPackage

/// Where a path led.
public struct PathWalk: ~Copyable, Sendable {
  /// The directory that has the place.
  public let parent: File
  /// The place, never a symbolic link. What is mounted there is the place.
  public let place: File
  /// What the directory calls it.
  public let name: FilePath

  /// Most symbolic links on the way, as in the kernel (path_resolution(7)).
  private static let mostLinks = 40

  /// Follows `path`.
  ///
  /// - Throws: ``PathWalkError`` that says where it ends.
  public init(_ path: FilePath) throws(PathWalkError) {
    self = try Self.walk(path, again: true)
  }

  /// A place that is known.
  init(parent: consuming File, place: consuming File, name: FilePath) {
    self.parent = parent
    self.place = place
    self.name = name
  }

  /// The place alone.
  consuming func takePlace() -> File { place }

  /// - Parameter again: whether a place without a name of its own may be looked for once more, by its proper path.
  private static func walk(_ path: FilePath, again: Bool) throws(PathWalkError) -> PathWalk {
    guard !path.isEmpty else { throw .unusable(.noSuchFileOrDirectory) }
    var links = 0
    var parent = try root(path)
    var rest = Array(path.components.reversed())
    while let component = rest.popLast() {
      guard component.kind != .currentDirectory else { continue }
      let name = FilePath(root: nil, [component])
      let place = try pin(name, in: parent)
      guard let status = try? place.status() else {
        // One that does not even let itself be looked at, such as another user's mount, is no link.
        if rest.isEmpty { return PathWalk(parent: parent, place: place, name: name) }
        parent = place
        continue
      }
      if status.kind == .symbolicLink {
        links += 1
        guard links <= mostLinks else { throw .unusable(.tooManySymbolicLinkLevels) }
        let target = try follow(place, status, in: parent, name)
        if target.isAbsolute { parent = try root(target) }
        rest += target.components.reversed()
      } else if rest.isEmpty, component.kind == .regular {
        return PathWalk(parent: parent, place: place, name: name)
      } else {
        parent = place
      }
    }
    guard again, let proper = parent.path, proper.lastComponent != nil else { throw .unusable(.invalidArgument) }
    return try walk(proper, again: false)
  }

  private static func root(_ path: FilePath) throws(PathWalkError) -> File {
    do { return try File.place(path.isAbsolute ? "/" : ".") } catch { throw .unusable(error) }
  }

  /// A directory that is mounted when somebody goes through it (autofs) is not, where one only looks at it.
  private static func pin(_ name: FilePath, in parent: borrowing File) throws(PathWalkError) -> File {
    do {
      let place = try File.place(name, in: parent.descriptor)
      guard place.isAutomount else { return place }
      _ = try? File.open(name, in: parent.descriptor, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
      return try File.place(name, in: parent.descriptor)
    } catch {
      throw .unusable(error)
    }
  }

  private static func follow(
    _ link: borrowing File, _ status: FileStatus, in parent: borrowing File, _ name: FilePath
  ) throws(PathWalkError) -> FilePath {
    do {
      if geteuid() == 0 {
        let owners = [status.user, try parent.status().user]
        guard owners.allSatisfy(trusted.contains) else { throw Errno.permissionDenied }
      }
      return try link.linkTarget()
    } catch Errno.permissionDenied {
      throw .foreignLink((parent.path ?? "").appending(name.components))
    } catch {
      throw .unusable(error as? Errno ?? .ioError)
    }
  }

  /// Root, and who called it.
  private static let trusted: Set<uid_t> = {
    let caller = getenv("SUDO_UID").flatMap { uid_t(String(cString: $0)) }
    return Set([0, getuid()] + (caller.map { [$0] } ?? []))
  }()
}

/// Why a path leads nowhere.
public enum PathWalkError: Error, Equatable {
  /// A system call says so.
  case unusable(Errno)
  /// It goes through a symbolic link of somebody else.
  case foreignLink(FilePath)
}
