// Loop devices over the exposed file: data, discard and write-zeroes reach the overlay.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.root, .program("losetup"), .program("blkdiscard"))) struct LoopDevices {
    static let size = 16 << 20

    private func attach(_ mount: Mount, _ directIO: String) async throws -> String {
      let device = try await sandbox.loopDevice(mount.file, "--direct-io=\(directIO)")
      let shown = try await run("losetup", "--noheadings", "--output", "DIO", device)
      #expect(shown.contains(directIO == "on" ? "1" : "0"), "direct I/O is \(directIO)")
      return device
    }

    @Test(arguments: ["off", "on"])
    func data(directIO: String) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: Self.size))
      let device = try await attach(mount, directIO)
      #expect(try await run("blockdev", "--getsize64", device) == "\(Self.size)\n")
      try await run("cmp", device, mount.image.path)

      let source = try Image(sandbox.path + "/source", size: 0, mode: 0o644)
      let new = Pattern(seed: 81).bytes(3 << 20)
      try TestFile(source.path).write(new, at: 0)
      try await run("dd", "if=\(source.path)", "of=\(device)", "bs=4k", "seek=1000", "conv=notrunc,fsync")
      let file = try mount.open()
      try expect(file, at: 1000 * 4096, holds: new)
      try expectBase(file, 0..<1000 * 4096)
      try await sandbox.detach(device)
      try expect(file, at: 1000 * 4096, holds: new)
    }

    @Test(arguments: ["off", "on"], ["--discard", "--zeroout"])
    func clearing(directIO: String, how: String) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: Self.size))
      let device = try await attach(mount, directIO)
      try await run("dd", "if=/dev/urandom", "of=\(device)", "bs=1M", "count=16", "conv=fsync")
      #expect(try mount.overlaySpace() >= Self.size)

      let arguments = how == "--zeroout" ? [how] : []
      let options = ["--offset", "\(1 << 20)", "--length", "\(14 << 20)", device]
      let result = try await attempt("blkdiscard", arguments + options)
      #expect(result.succeeded, "\(result)")
      try await run("sync", device)
      let file = try mount.open()
      try expectZeros(file, 1 << 20..<15 << 20)
      #expect(try mount.overlaySpace() < 4 << 20)
      try await shell(#"head -c 15728640 "$1" | tail -c 14680064 | cmp -n 14680064 - /dev/zero"#, device)
    }

    /// Discarded parts of the base are hidden, not only parts of the overlay.
    @Test func discardHidesTheBase() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: Self.size))
      let device = try await attach(mount, "off")
      try await run("blkdiscard", device)
      try expectZeros(mount.open(), 0..<Self.size)
      #expect(try mount.open().dataRanges() == [])
      #expect(try mount.overlaySpace() < 1 << 20)
    }

    /// Somebody ends cowmount below an attached device: errors, no hang, and the device can be detached.
    @Test(arguments: ["off", "on"])
    func mountThatEndsBelow(directIO: String) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: Self.size))
      let device = try await attach(mount, directIO)
      try await run("dd", "if=/dev/zero", "of=\(device)", "bs=64k", "count=8")
      try await mount.end(with: SIGTERM)
      let result = try await attempt(
        "dd", ["if=/dev/zero", "of=\(device)", "bs=1M", "count=4", "oflag=direct", "conv=fsync"], limit: .seconds(20))
      #expect(result.status == 1, "\(result)")
      try await sandbox.detach(device)
    }
  }
}
