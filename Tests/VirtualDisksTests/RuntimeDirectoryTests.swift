// Whose runtime directory it is.

import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import VirtualDisks

@Suite(.serialized) struct RuntimeDirectoryTests {
  private func found(_ path: String) -> String? {
    let before = getenv("XDG_RUNTIME_DIR").map { String(cString: $0) }
    setenv("XDG_RUNTIME_DIR", path, 1)
    defer {
      if let before { setenv("XDG_RUNTIME_DIR", before, 1) } else { unsetenv("XDG_RUNTIME_DIR") }
    }
    return RuntimeDirectory.ofUser
  }

  @Test func itIsTheUsersOwnAndClosed() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path.string
    #expect(found(path) == path)
    for mode in [0o720, 0o702, 0o777, 0o1777] as [mode_t] {
      chmod(path, mode)
      #expect(found(path) == nil)
    }
    chmod(path, 0o700)
    _ = try directory.makeImage(size: 0)
    #expect(found(directory.image.string) == nil)
    #expect(found(directory.path.appending("missing").string) == nil)
    let link = directory.path.appending("link").string
    symlink(path, link)
    #expect(found(link) == nil)
    #expect(found("") == nil && found("tmp") == nil)
    guard geteuid() == 0 else { return }
    chown(path, 65534, 65534)
    #expect(found(path) == nil)
  }
}
