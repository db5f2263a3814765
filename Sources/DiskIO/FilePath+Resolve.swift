// Paths that stay right when the working directory changes.

internal import Glibc
public import SystemPackage

extension FilePath {
  /// The path of these bytes, whatever they are, up to the first NUL.
  public init(bytes: some Sequence<UInt8>) {
    self = (bytes.map { CChar(bitPattern: $0) } + [0]).withUnsafeBufferPointer { bytes in
      bytes.baseAddress.map { FilePath(platformString: $0) } ?? FilePath()
    }
  }

  /// The absolute path without symbolic links, `.` and `..` (realpath(3)).
  public func resolved() throws(Errno) -> FilePath {
    let resolved = withPlatformString { realpath($0, nil) }
    guard let resolved else { throw Errno.current }
    defer { free(resolved) }
    return FilePath(platformString: resolved)
  }

  /// As ``resolved()``, for a path whose last component cannot be looked at.
  public func resolvingParent() throws(Errno) -> FilePath {
    guard let name = lastComponent else { return try resolved() }
    let parent = removingLastComponent()
    return try (parent.isEmpty ? "." : parent).resolved().appending(name)
  }
}
