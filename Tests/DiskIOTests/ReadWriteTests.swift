// Reading and writing whole ranges.

import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import DiskIO

@Suite struct ReadWriteTests {
  @Test func `what was written is read, wherever it lies`() throws {
    let file = try File.scratch()
    try file.write([1, 2, 3], at: 10)
    try file.write([4, 5], at: 5 << 30)
    #expect(try file.read(8..<14) == [0, 0, 1, 2, 3, 0])
    #expect(try file.read(5 << 30..<5 << 30 + 2) == [4, 5])
    #expect(try file.status().size == 5 << 30 + 2)
  }

  @Test(arguments: [0, 1, 3, 4096] as [UInt64])
  func `a file that ends within the range is an I/O error, not zeros`(missing: UInt64) throws {
    let file = try File.scratch()
    try file.write([UInt8](repeating: 7, count: 5000))
    if missing == 0 {
      #expect(try file.read(0..<5000) == [UInt8](repeating: 7, count: 5000))
    } else {
      #expect(throws: Errno.ioError) { try file.read(0..<5000 + missing) }
    }
    #expect(throws: Errno.ioError) { try file.read(5000 + missing..<5001 + missing) }
  }

  @Test func `nothing is read from or written to anywhere, at no cost`() throws {
    let file = try File.scratch()
    #expect(try file.read(100..<100) == [])
    try file.write([], at: 100)
    #expect(try file.status().size == 0)
  }

  @Test func `a file that was opened for reading cannot be written`() throws {
    let directory = try TemporaryDirectory()
    _ = try directory.makeFile("image", [1, 2, 3])
    let file = try File.openReadOnly(directory.path.appending("image"))
    #expect(try file.read(0..<3) == [1, 2, 3])
    #expect(throws: Errno.badFileDescriptor) { try file.write([9]) }
    #expect(throws: Errno.self) { try file.setLength(0) }
    #expect(throws: Errno.self) { try file.punchHole(0..<1) }
    #expect(try file.read(0..<3) == [1, 2, 3])
  }

  @Test func `reading an image does not move its access time`() throws {
    let directory = try TemporaryDirectory()
    let written = try directory.makeFile("image", [1, 2, 3])
    // Long before its modification: even a relatime mount would move it.
    var times = [timespec(tv_sec: 1000, tv_nsec: 0), timespec(tv_sec: 2000, tv_nsec: 0)]
    #expect(futimens(written.descriptor, &times) == 0)
    let file = try File.openReadOnly(directory.path.appending("image"))
    #expect(try file.read(0..<3) == [1, 2, 3])
    var raw = stat()
    #expect(fstat(file.descriptor, &raw) == 0)
    #expect(raw.st_atim.tv_sec == 1000)
    #expect(try file.status().modified == Timestamp(times[1]))
  }

  @Test func `a pipe is opened without waiting for its other end`() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path.appending("pipe")
    #expect(mkfifo(path.string, 0o600) == 0)
    #expect(try File.openReadOnly(path).status().kind == .other)
  }

  @Test func `what a path leads to is told apart`() throws {
    let directory = try TemporaryDirectory()
    _ = try directory.makeFile("file", [1, 2, 3], mode: 0o640)
    #expect(symlink("file", directory.path.appending("link").string) == 0)
    #expect(symlink("missing", directory.path.appending("dangling").string) == 0)
    for name in ["file", "link"] {
      let status = try FileStatus(of: directory.path.appending(name))
      #expect(status.kind == .regular && status.size == 3)
    }
    #expect(try FileStatus(of: directory.path).kind == .directory)
    #expect(try FileStatus(of: "/dev/null").kind == .other)
    for name in ["missing", "dangling"] {
      #expect(throws: Errno.noSuchFileOrDirectory) { try FileStatus(of: directory.path.appending(name)) }
      #expect(throws: Errno.noSuchFileOrDirectory) {
        _ = try File.openReadOnly(directory.path.appending(name))
      }
    }
  }

  @Test func `small text files are read whole`() throws {
    let directory = try TemporaryDirectory()
    let text = String(repeating: "a line of text\n", count: 10_000)
    _ = try directory.makeFile("text", Array(text.utf8))
    #expect(try File.readText(directory.path.appending("text")) == text)
    try File.write("other", to: directory.path.appending("text"))
    #expect(try File.readText(directory.path.appending("text")).hasPrefix("othere of text\n"))
    #expect(try !File.readText("/proc/self/mountinfo").isEmpty)
  }
}
