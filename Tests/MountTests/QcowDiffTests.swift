// The differences as a qcow2 file: created on the mount, then rebased onto the image, as the manual of nbdkit's cow
// filter shows. And QEMU's tools on the mount.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.program("qemu-img"))) struct QcowDiff {
    @Test func createAndRebase() async throws {
      let image = try sandbox.image(size: 24 << 20, data: [0..<2 << 20, 8 << 20..<9 << 20])
      let mount = try await sandbox.mount(image)
      let file = try mount.open()
      try file.write(Pattern(seed: 111).bytes(100_000), at: 1 << 20)
      try file.write(Pattern(seed: 112).bytes(70_000), at: 20 << 20 + 5)
      try file.allocate(.punchHole, 8 << 20..<8 << 20 + 500_000)
      file.close()
      let copy = sandbox.path + "/copy.raw"
      try await run("cp", mount.file, copy)

      let diff = sandbox.path + "/diff.qcow2"
      try await run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", mount.file, diff)
      try await run("qemu-img", "rebase", "-f", "qcow2", "-F", "raw", "-b", image.path, diff)
      try await run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", diff, mount.file)
      try await mount.unmount()

      // It stands without the mount, and holds the differences only.
      try await run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", diff, copy)
      try await run("qemu-img", "check", "-q", "-f", "qcow2", diff)
      #expect(try status(diff).st_blocks * 512 < 2 << 20)
    }

    @Test(.needs(.program("qemu-io")))
    func qemuWritesToTheMount() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 8 << 20))
      let commands = ["write -P 0xab 1M 64k", "discard 2M 1M", "write -z 4M 128k", "flush", "read -P 0xab 1M 64k"]
      for cache in ["writeback", "none"] {
        let result = try await attempt(
          "qemu-io", ["-f", "raw", "-t", cache, "-d", "unmap"] + commands.flatMap { ["-c", $0] } + [mount.file])
        #expect(result.succeeded && !result.output.contains("failed"), "\(result)")
      }
      let file = try mount.open()
      try expect(file, at: 1 << 20, holds: [UInt8](repeating: 0xab, count: 64 << 10))
      try expectZeros(file, 2 << 20..<3 << 20)
      try expectZeros(file, 4 << 20..<4 << 20 + 128 << 10)
      let map = try await run("qemu-img", "map", "-f", "raw", "--output=json", mount.file)
      #expect(map.contains(#""start": 2097152, "length": 1048576"#), "\(map)")
    }
  }
}
