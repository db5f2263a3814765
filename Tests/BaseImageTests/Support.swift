// What the tests of images share.

import CopyOnWrite
import DiskIO
import Glibc
import SystemPackage

@testable import BaseImage

/// A directory of its own that goes away, with the files in it, when its owner does.
final class TemporaryDirectory: Sendable {
  let path: FilePath

  init() throws(Errno) {
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/cowmount-test.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw .current }
    path = FilePath(platformString: template)
  }

  deinit {
    for name in ["image", "link", "pipe"] { unlink(path.appending(name).string) }
    rmdir(path.string)
  }

  var image: FilePath { path.appending("image") }

  /// Makes `image`: bytes at an offset, holes around them up to its size.
  func makeImage(
    size: UInt64, data: [UInt8] = [], at offset: UInt64 = 0, mode: mode_t = 0o600
  ) throws(Errno) -> FilePath {
    let descriptor = open(image.string, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor != -1 else { throw .current }
    let file = File(adopting: descriptor)
    try file.setLength(size)
    if !data.isEmpty, pwrite(descriptor, data, data.count, off_t(offset)) != data.count { throw .current }
    guard fchmod(descriptor, mode) == 0 else { throw .current }
    return image
  }
}

extension BaseReader {
  func bytes(_ range: Range<UInt64>) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0xDE, count: range.count)
    try bytes.withUnsafeMutableBytes { try read(into: $0, at: range.lowerBound) }
    return bytes
  }
}

/// Runs a closure on a thread of its own, where it may give up rights that the others keep, and waits for its end.
func onOwnThread(_ body: @escaping @Sendable () -> Void) {
  final class Job: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
  var thread = pthread_t()
  let created = pthread_create(
    &thread, nil,
    { context in
      if let context { Unmanaged<Job>.fromOpaque(context).takeRetainedValue().body() }
      return nil
    }, Unmanaged.passRetained(Job(body)).toOpaque())
  precondition(created == 0, "no thread")
  pthread_join(thread, nil)
}
