// Programs that look for holes and skip them must copy every byte all the same.

import Glibc
import Testing

extension Mounted {
  @Suite struct SparseCopies {
    static let size = 24 << 20

    /// A mount with data of the base, of the overlay, and of the kernel's cache only, between holes.
    private func mount() async throws -> Mount {
      let image = try sandbox.image(size: Self.size, data: [0..<100_000, 8 << 20..<9 << 20])
      let mount = try await sandbox.mount(image)
      let file = try mount.open()
      try file.write(Pattern(seed: 71).bytes(300_000), at: 4 << 20)
      try file.sync()
      try file.allocate(.punchHole, 50_000..<90_000)
      try file.write(Pattern(seed: 72).bytes(5000), at: 16 << 20 + 77)
      try file.write([1], at: Self.size - 1)
      return mount
    }

    private func expectSameAndSparse(_ copy: String, as mount: Mount) async throws {
      try await run("cmp", copy, mount.file)
      #expect(try status(copy).st_blocks * 512 < 4 << 20, "the copy has holes")
    }

    @Test(arguments: ["--sparse=always", "--sparse=auto", "--reflink=auto"])
    func cp(option: String) async throws {
      let mount = try await mount()
      let copy = sandbox.path + "/copy"
      try await run("cp", option, mount.file, copy)
      try await expectSameAndSparse(copy, as: mount)
    }

    @Test func cpKeepsAttributes() async throws {
      let mount = try await mount()
      let copy = sandbox.path + "/copy"
      try await run("cp", "-a", mount.file, copy)
      try await expectSameAndSparse(copy, as: mount)
      #expect(try status(copy).st_mode == status(mount.file).st_mode)
    }

    @Test(.needs(.program("tar")))
    func tar() async throws {
      let mount = try await mount()
      let out = try sandbox.directory("out")
      try await shell(#"tar -C "$1" -Scf "$2/a.tar" disk.img && tar -C "$2" -Sxf "$2/a.tar""#, mount.place, out)
      try await expectSameAndSparse(out + "/disk.img", as: mount)
      #expect(try status(out + "/a.tar").st_size < 4 << 20)
    }

    /// tar -S takes a file without blocks for one big hole.
    @Test(.needs(.program("tar")), arguments: [1, 100, 4096])
    func tarOfLittleData(size: Int) async throws {
      let mount = try await sandbox.mount(sandbox.image(size: size))
      let out = try sandbox.directory("out")
      try await shell(#"tar -C "$1" -Scf - disk.img | tar -C "$2" -Sxf -"#, mount.place, out)
      try await run("cmp", out + "/disk.img", mount.image.path)
    }

    @Test(.needs(.program("tar")))
    func tarOfFreshData() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20, data: []))
      let file = try mount.open()
      try file.write([1, 2, 3], at: 500_000)
      let out = try sandbox.directory("out")
      try await shell(#"tar -C "$1" -Scf - disk.img | tar -C "$2" -Sxf -"#, mount.place, out)
      try await run("cmp", out + "/disk.img", mount.file)
    }

    @Test(arguments: ["cp --sparse=always", "cp", "dd conv=sparse,notrunc bs=64k"])
    func intoTheMount(command: String) async throws {
      let source = try sandbox.image("source.img", size: Self.size, data: [1 << 20..<2 << 20, 20 << 20..<21 << 20])
      let mount = try await sandbox.mount(sandbox.image(size: 1 << 20))
      if command.hasPrefix("dd") {
        // It leaves holes as they are.
        try mount.open(O_RDWR | O_TRUNC).resize(Self.size)
        try await shell(#"\#(command) if="$1" of="$2""#, source.path, mount.file)
      } else {
        try await shell(#"\#(command) "$1" "$2""#, source.path, mount.file)
      }
      try await run("cmp", source.path, mount.file)
    }
  }
}
