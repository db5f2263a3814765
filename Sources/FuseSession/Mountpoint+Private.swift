// A place that is made for a mount, which nobody but its user can reach, and that goes away with it.

import DiskIO
import Glibc
import SystemPackage

extension Mountpoint {
  /// Makes an empty directory with mode 0700 under a name that nobody knows before.
  ///
  /// - Parameter parents: where, in the order of preference. One in which somebody else than root could rename it is passed
  ///   over: what has its path must find it there.
  public convenience init(privateIn parents: [FilePath]) throws(FuseError) {
    var failure: FuseError?
    for parent in parents {
      do {
        let made = try Self.make(in: parent)
        self.init(made.walk, made.status, at: made.path)
        return
      } catch {
        failure = failure ?? .noPrivatePlace(parent, error)
      }
    }
    throw failure ?? .noPrivatePlace("/", .noSuchFileOrDirectory)
  }

  /// Removes the directory where it was made for the mount and nothing is on it or in it.
  public func removeIfPrivate() {
    guard isPrivate else { return }
    // By its name in the directory that has it, whatever leads there now.
    _ = pinned.name.withPlatformString { unlinkat(pinned.parent.descriptor, $0, AT_REMOVEDIR) }
  }

  private static func make(in path: FilePath) throws(Errno) -> Made {
    let parent = try directory(at: path)
    let status = try parent.status()
    guard status.kind == .directory else { throw .notDirectory }
    let isOurs = status.user == 0 || status.user == geteuid()
    let isClosed = status.permissions & 0o022 == 0 || status.permissions & 0o1000 != 0
    guard isOurs, isClosed else { throw .permissionDenied }
    let name = FilePath("cowmount-\(String(UInt64.random(in: 0...UInt64.max), radix: 36))")
    guard name.withPlatformString({ mkdirat(parent.descriptor, $0, 0o700) }) == 0 else { throw .current }
    do throws(Errno) {
      let place = try File.place(name, in: parent.descriptor)
      guard let proper = place.path else { throw .noSuchFileOrDirectory }
      return Made(status: try place.status(), path: proper, walk: PathWalk(parent: parent, place: place, name: name))
    } catch {
      _ = name.withPlatformString { unlinkat(parent.descriptor, $0, AT_REMOVEDIR) }
      throw error
    }
  }

  private static func directory(at path: FilePath) throws(Errno) -> File {
    do {
      let walk = try PathWalk(path)
      return walk.takePlace()
    } catch {
      switch error {
      case .unusable(let error): throw error
      case .foreignLink: throw .permissionDenied
      }
    }
  }

  private struct Made: ~Copyable {
    let status: FileStatus
    let path: FilePath
    let walk: PathWalk
  }
}
