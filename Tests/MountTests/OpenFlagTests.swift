// What open(2) is told: O_DIRECT, O_APPEND, O_SYNC, O_TRUNC, access modes.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct OpenFlags {
    @Test func direct() async throws {
      let size = 1 << 20
      let mount = try await sandbox.mount(sandbox.image(size: size + 1000))
      let file = try mount.open(O_RDWR | O_DIRECT)
      for (offset, count) in [(0, 512), (512, 4096), (65_536, 131_072), (1_048_064, 512)] {
        let new = Pattern(seed: UInt64(offset + 1)).bytes(count)
        #expect(try file.write(new, at: offset) == count)
        try expect(file, at: offset, holds: new)
        try expect(mount.open(O_RDONLY), at: offset, holds: new, "buffered")
      }
      try expectBase(file, 4608..<65_536)
      #expect(try file.read(4096, at: size).count == 1000, "the odd tail")
    }

    @Test func appending() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1000))
      let file = try mount.open(O_RDWR | O_APPEND)
      let first = Pattern(seed: 41).bytes(5000)
      try file.append(first)
      try mount.open(O_RDWR | O_APPEND).append([1, 2, 3])
      #expect(try file.size == 6003)
      try expectBase(file, 0..<1000)
      try expect(file, at: 1000, holds: first + [1, 2, 3])
    }

    @Test func severalAppenders() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 0))
      // Each line is one write; none may overwrite another.
      let script = #"for i in $(seq 100); do echo "$2 line $i" >> "$1"; done"#
      try await withThrowingTaskGroup(of: Void.self) { group in
        for writer in ["a", "b", "c"] {
          group.addTask { try await shell(script, mount.file, writer) }
        }
        try await group.waitForAll()
      }
      let lines = try readText(mount.file).split(separator: "\n")
      #expect(lines.count == 300)
      #expect(Set(lines).count == 300)
    }

    @Test(arguments: [O_SYNC, O_DSYNC])
    func synchronous(flag: CInt) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 100_000))
      let file = try mount.open(O_RDWR | flag)
      let new = Pattern(seed: 42).bytes(10_001)
      try file.write(new, at: 3)
      try expect(mount.open(O_RDONLY | O_DIRECT), at: 3, holds: new)
      #expect(try mount.overlaySpace() >= 10_001)
    }

    @Test func truncating() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 100_000))
      let file = try mount.open(O_RDWR | O_TRUNC)
      #expect(try file.size == 0)
      #expect(try file.read(10, at: 0) == [])
      try file.resize(100_000)
      try expectZeros(file, 0..<100_000, "what was cut off never comes back")
    }

    @Test func accessModes() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 4096))
      #expect(throws: Errno.badFileDescriptor) { try mount.open(O_RDONLY).write([1], at: 0) }
      #expect(throws: Errno.badFileDescriptor) { try mount.open(O_WRONLY).read(1, at: 0) }
      try mount.open(O_WRONLY).write([1], at: 0)
      // To create what is there is to open it.
      try expect(mount.open(O_RDWR | O_CREAT), at: 0, holds: [1])
      #expect(throws: Errno.fileExists) { try mount.open(O_RDWR | O_CREAT | O_EXCL) }
      #expect(throws: Errno.notDirectory) { try mount.open(O_RDONLY | O_DIRECTORY) }
      // A part of a page, written without read access, must not lose the rest of the page.
      try expectBase(mount.open(O_RDONLY), 1..<4096)
    }
  }
}
