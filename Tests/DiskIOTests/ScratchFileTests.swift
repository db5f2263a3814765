// The overlay's file: nobody else can get at it, and nothing is left of it.

import CLinux
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import DiskIO

@Suite struct ScratchFileTests {
  @Test func `a scratch file has no name, is private, and is empty`() throws {
    let directory = try TemporaryDirectory()
    let file = try File.scratch(in: directory.path)
    #expect(directory.names.isEmpty)
    try expectPrivate(file)
  }

  /// What scratch(in:) falls back to where the file system has no O_TMPFILE.
  @Test func `a file that was created under a name loses it at once and is private`() throws {
    let directory = try TemporaryDirectory()
    let descriptor = clinux_unlinked_temporary(directory.path.appending("cowmount.XXXXXX").string)
    try #require(descriptor != -1)
    let file = File(adopting: descriptor)
    #expect(directory.names.isEmpty)
    try expectPrivate(file)
  }

  @Test func `a file in memory is like one on disk`() throws {
    let file = try File.scratchInMemory()
    #expect(try file.status().size == 0)
    #expect(fcntl(file.descriptor, F_GETFD) & FD_CLOEXEC != 0)
    try file.setLength(1 << 30)
    try file.write([1, 2, 3], at: 1 << 20)
    #expect(try file.read(1 << 20..<1 << 20 + 4) == [1, 2, 3, 0])
    #expect(try file.availableSpace() > 0)
  }

  private func expectPrivate(_ file: borrowing File) throws {
    var raw = stat()
    #expect(fstat(file.descriptor, &raw) == 0)
    #expect(raw.st_nlink == 0)
    let status = try file.status()
    #expect(status.kind == .regular)
    #expect(status.permissions == 0o600)
    #expect(status.user == geteuid())
    #expect(status.size == 0)
    #expect(fcntl(file.descriptor, F_GETFD) & FD_CLOEXEC != 0)
    #expect(fcntl(file.descriptor, F_GETFL) & O_ACCMODE == O_RDWR)
    // Not even who may look into this process gives it one.
    let name = scratchDirectory.appending("cowmount-test.name.\(getpid())").string
    let isLinked = linkat(AT_FDCWD, "/proc/self/fd/\(file.descriptor)", AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0
    #expect(!isLinked && errno == ENOENT)
    unlink(name)
  }

  @Test func `an unusable directory is an error`() throws {
    let directory = try TemporaryDirectory()
    _ = try directory.makeFile("file")
    expect(.noSuchFileOrDirectory) { _ = try File.scratch(in: directory.path.appending("missing")) }
    expect(.notDirectory) { _ = try File.scratch(in: directory.path.appending("file")) }
    #expect(directory.names == ["file"])
  }

  @Test func `a name that is too long is an error`() {
    let name = String(repeating: "x", count: 5000) + "XXXXXX"
    #expect(clinux_unlinked_temporary(name) == -1)
    #expect(errno == ENAMETOOLONG)
  }

  private func expect(_ error: Errno, _ body: () throws -> Void) {
    #expect(throws: error) { try body() }
  }
}
