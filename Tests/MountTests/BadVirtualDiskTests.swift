// Virtual disks that are refused: damaged ones, encrypted ones, ones that nobody here can read.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.program("qemu-img"), .program("qemu-nbd"))) struct BadVirtualDisks {
    private func image(_ kind: VirtualDisks.Kind) async throws -> Image {
      let (raw, _) = try VirtualDisks.raw()
      return try await VirtualDisks.convert(raw, kind.format, kind.options, name: "disk.\(kind.format)")
    }

    /// QEMU shows zeros for what is missing at the end of most formats.
    @Test(arguments: [
      VirtualDisks.Kind("qcow2"), .init("qcow2", "-c"), .init("vmdk"), .init("vmdk", "-o", "subformat=streamOptimized"),
      .init("vhdx"), .init("vdi"), .init("vpc"),
    ])
    func cutOff(kind: VirtualDisks.Kind) async throws {
      let image = try await image(kind)
      let size = try TestFile(image.path, O_RDONLY).size
      // A VDI image is told by what is at byte 64; before it is all there, the file is some raw one. VHDX has room behind
      // the end of its disk.
      let lengths =
        switch kind.format {
        case "vdi": [600, size / 2, size - 70_000]
        case "vhdx": [8, 600, size / 2]
        case "vpc": [8, 600, size / 2, size - 70_000]
        default: [4, 100, 600, size / 2, size - 70_000]
        }
      let part = try sandbox.directory("part") + "/disk.\(kind.format)"
      try await run("cp", image.path, part)
      for length in lengths.reversed() {
        truncate(part, length)
        try await expectServerRefusal([part, newMountpoint], naming: part)
      }
      try await expectServerRefusal(["--format", kind.format, part, newMountpoint], naming: part)
    }

    @Test(arguments: [
      ("qcow2", [4, 20, 36, 40, 48]), ("vmdk", [4, 20, 44, 56]), ("vhdx", [64 << 10, 192 << 10, 192 << 10 + 32]),
      ("vdi", [68, 340, 376, 384]), ("vpc", [16, 512, 512 + 28]),
    ])
    func corrupted(format: String, places: [Int]) async throws {
      let image = try await image(.init(format))
      for place in places {
        let broken = try sandbox.directory("broken") + "/disk.\(format)"
        try await run("cp", image.path, broken)
        let file = try TestFile(broken)
        try file.write([UInt8](repeating: 0xFF, count: 4), at: place)
        // VHDX has its header twice.
        if place == 64 << 10 { try file.write([UInt8](repeating: 0xFF, count: 4), at: 128 << 10) }
        file.close()
        try await expectServerRefusal([broken, newMountpoint], naming: broken)
      }
    }

    @Test func otherFormat() async throws {
      let raw = try sandbox.image(size: 1 << 20)
      for format in ["qcow2", "vmdk", "vhdx", "vdi", "vpc", "vhd"] {
        try await expectServerRefusal(["--format", format, raw.path, newMountpoint], naming: raw.path, "--format")
      }
      let image = try await image(.init("qcow2"))
      try await expectServerRefusal(["--format", "vdi", image.path, newMountpoint], naming: image.path, "vdi")
      try await expectServerRefusal(["--format", "qcow3", image.path, newMountpoint], naming: "qcow3", status: 64)
    }

    /// The header says so; QEMU's tools take seconds for a real one, and fail now and then.
    @Test(arguments: [1, 2] as [UInt8])
    func encrypted(method: UInt8) async throws {
      let image = try await image(.init("qcow2"))
      try TestFile(image.path).write([0, 0, 0, method], at: 32)
      try await expectServerRefusal([image.path, newMountpoint], naming: image.path, "encrypted")
      try await expectServerRefusal(["--format", "qcow2", image.path, newMountpoint], naming: image.path, "encrypted")
    }

    @Test func withoutQemu() async throws {
      let image = try await image(.init("qcow2"))
      try await expectServerRefusal(
        [image.path, newMountpoint], naming: image.path, "qemu-nbd", "qemu-utils", variables: ["PATH": sandbox.path])
    }

    /// What cannot be opened later must not leave the server running.
    @Test func failuresBehindTheServer() async throws {
      let image = try await image(.init("qcow2"))
      try await expectServerRefusal([image.path, sandbox.path + "/nowhere"], naming: "nowhere")
      try await expectServerRefusal(["--partition", "1", image.path, newMountpoint], naming: image.path, "partition")
      try await expectServerRefusal(
        ["--overlay-dir", sandbox.path + "/nowhere", image.path, newMountpoint], naming: "nowhere")
      try await expectServerRefusal(["-o", "nonsense", image.path, newMountpoint], naming: "nonsense")
    }
  }
}
