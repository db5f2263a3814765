// A dead mount is known as one whatever the kernel still has of it in its caches and however it is named, and the next
// cowmount clears it.

import Glibc
import Testing

extension Mounted {
  @Suite struct DeadMount {
    /// Each puts something else into the kernel's caches.
    @Test(
      arguments: [
        ":", #"stat "$1""#, #"ls -la "$1""#, #"stat "$2""#, #"head -c 100 "$2""#, #"echo x | dd of="$2" conv=notrunc"#,
      ], [false, true])
    func clearedWhateverWasCached(use: String, throughLink: Bool) async throws {
      let image = try sandbox.image(size: 130_000)
      let dead = try await sandbox.mount(image)
      try await shell(use, dead.place, dead.file)
      try await dead.murder()
      var place = dead.place
      if throughLink {
        place = try sandbox.directory("links") + "/link"
        symlink(dead.place, place)
      }
      let result = try await attempt(
        Host.cowmount, ["--overlay-dir", try sandbox.directory("overlay"), image.path, place])
      #expect(result.succeeded, "\(result)")
      #expect(result.errors.contains("cleared the dead mount"), "\(result)")
      guard result.succeeded else { return }
      try expectBase(TestFile(dead.file), 0..<130_000)
      #expect(try MountEntry.all().filter { $0.mountpoint == dead.place }.count == 1)
      try await run(Host.isRoot ? "umount" : "fusermount3", Host.isRoot ? "--" : "-u", dead.place)
    }

    /// A live one is not taken for dead.
    @Test func aLiveOneStays() async throws {
      let image = try sandbox.image(size: 130_000)
      let live = try await sandbox.mount(image)
      try live.open().write([1], at: 5)
      let result = try await attempt(Host.cowmount, [image.path, live.place])
      expectOneLine(result, naming: [live.place, "in use"])
      try expect(live.open(), at: 5, holds: [1])
    }
  }
}
