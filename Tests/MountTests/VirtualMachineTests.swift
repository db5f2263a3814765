// A virtual machine that boots from the mount: the BIOS loads the first sector of the disk, and what is in it reads, changes
// and rewrites another. No kernel is needed, and software emulation runs it in a second.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.program("qemu-system-x86_64"))) struct VirtualMachine {
    /// Adds one to the first byte of the second sector, reads it back from the disk and exits QEMU with it. A failure
    /// of the BIOS's disk services exits with 0x3f.
    private static let bootSector: [UInt8] = [
      0x31, 0xc0,  // xor %ax,%ax
      0x8e, 0xd8,  // mov %ax,%ds
      0x8e, 0xc0,  // mov %ax,%es
      0x8e, 0xd0,  // mov %ax,%ss
      0xbc, 0x00, 0x7c,  // mov $0x7c00,%sp
      0xbb, 0x00, 0x7e,  // mov $0x7e00,%bx: where sectors go
      0xb9, 0x02, 0x00,  // mov $2,%cx: the second sector
      0xba, 0x80, 0x00,  // mov $0x80,%dx: of the first disk
      0xb8, 0x01, 0x02,  // mov $0x0201,%ax: read one
      0xcd, 0x13,  // int $0x13
      0x72, 0x1c,  // jc fail
      0xfe, 0x06, 0x00, 0x7e,  // incb 0x7e00
      0xb8, 0x01, 0x03,  // mov $0x0301,%ax: write one
      0xcd, 0x13,  // int $0x13
      0x72, 0x11,  // jc fail
      0xc6, 0x06, 0x00, 0x7e, 0x00,  // movb $0,0x7e00
      0xb8, 0x01, 0x02,  // mov $0x0201,%ax: read one
      0xcd, 0x13,  // int $0x13
      0x72, 0x05,  // jc fail
      0xa0, 0x00, 0x7e,  // mov 0x7e00,%al
      0xe6, 0xf4,  // out %al,$0xf4: exit
      0xb0, 0x3f,  // fail: mov $0x3f,%al
      0xe6, 0xf4,  // out %al,$0xf4
      0xf4,  // hlt
    ]

    /// QEMU's isa-debug-exit device ends QEMU with twice the value and one.
    private func boot(_ disk: String, cache: String) async throws -> Int32 {
      try await attempt(
        "qemu-system-x86_64",
        [
          "-accel", "tcg", "-m", "16", "-display", "none", "-nic", "none",
          "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
          "-drive", "file=\(disk),format=raw,cache=\(cache)",
        ]
      ).status
    }

    @Test func bootsAndKeepsWhatItWroteUntilTheUnmount() async throws {
      let sector = Self.bootSector + zeros(510 - Self.bootSector.count) + [0x55, 0xaa]
      let image = Image(existing: sandbox.path + "/vm.img")
      let disk = try TestFile(image.path, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
      try disk.resize(1 << 20)
      try disk.write(sector, at: 0)
      disk.close()

      let mount = try await sandbox.mount(image)
      #expect(try await boot(mount.file, cache: "writeback") == 1 << 1 | 1)
      #expect(try await boot(mount.file, cache: "none") == 2 << 1 | 1)
      #expect(try await boot(mount.file, cache: "none") == 3 << 1 | 1)
      try await mount.unmount()

      let again = try await sandbox.mount(image)
      #expect(try await boot(again.file, cache: "none") == 1 << 1 | 1)
    }

    /// A golden image and two layers over it, of which one changed what the boot sector counts.
    @Test(.needs(.program("qemu-img"), .program("qemu-nbd"), .program("qemu-io")))
    func bootsFromABackingChain() async throws {
      let directory = try sandbox.directory("chain")
      let base = try TestFile(directory + "/base.raw", O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
      try base.resize(1 << 20)
      try base.write(Self.bootSector + zeros(510 - Self.bootSector.count) + [0x55, 0xaa], at: 0)
      base.close()
      for (name, backing, format) in [("middle", "base.raw", "raw"), ("top", "middle.qcow2", "qcow2")] {
        let path = "\(directory)/\(name).qcow2"
        try await run("qemu-img", "create", "-q", "-f", "qcow2", "-F", format, "-b", backing, path)
      }
      try await run("qemu-io", "-f", "qcow2", "-c", "write -P 20 512 512", directory + "/middle.qcow2")

      for _ in 0..<2 {
        let mount = try await sandbox.mount(
          Image(existing: directory + "/top.qcow2"), "--format", "qcow2", "--name", "vm.img")
        #expect(try await boot(mount.file, cache: "writeback") == 21 << 1 | 1)
        #expect(try await boot(mount.file, cache: "none") == 22 << 1 | 1)
        try await mount.unmount()
      }
    }
  }
}
