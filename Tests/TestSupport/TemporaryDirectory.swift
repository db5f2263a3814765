// Where tests put their files.

import DiskIO
package import Glibc
package import SystemPackage

/// Where directories and files of tests are made: in TMPDIR, where that is set.
package let scratchDirectory = FilePath(getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")

/// A directory of its own that goes away, with all that is in it, when its owner does.
package final class TemporaryDirectory: Sendable {
  package let path: FilePath

  package init(in parent: FilePath = scratchDirectory) throws(Errno) {
    var template = Array("\(parent)/cowmount-test.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw .current }
    path = FilePath(platformString: template)
  }

  deinit {
    _ = system("rm -rf '\(path)'")
  }

  /// The file that most tests have just one of.
  package var image: FilePath { file("image") }

  package func file(_ name: String) -> FilePath { path.appending(name) }

  /// Makes a file anew: bytes at an offset, holes around them up to its size.
  @discardableResult
  package func makeFile(
    _ name: String, size: UInt64? = nil, data: [UInt8] = [], at offset: UInt64 = 0, mode: mode_t = 0o600
  ) throws(Errno) -> FilePath {
    let descriptor = open(file(name).string, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor != -1 else { throw .current }
    let file = File(adopting: descriptor)
    if let size { try file.setLength(size) }
    if !data.isEmpty, pwrite(descriptor, data, data.count, off_t(offset)) != data.count { throw .current }
    guard fchmod(descriptor, mode) == 0 else { throw .current }
    return self.file(name)
  }

  /// Makes ``image``, as ``makeFile(_:size:data:at:mode:)`` does.
  package func makeImage(
    size: UInt64, data: [UInt8] = [], at offset: UInt64 = 0, mode: mode_t = 0o600
  ) throws(Errno) -> FilePath {
    try makeFile("image", size: size, data: data, at: offset, mode: mode)
  }
}
