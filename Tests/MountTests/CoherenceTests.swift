// One file for everybody: descriptors, mappings and processes see the same bytes.

import Glibc
import Testing

extension Mounted {
  @Suite struct Coherence {
    @Test func sharedMapping() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 130_000))
      let file = try mount.open()
      let mapping = try Mapping(file, count: 130_000, flags: MAP_SHARED)
      expect(try mapping.read(130_000, at: 0), equals: Image.content.bytes(130_000))

      let first = Pattern(seed: 31).bytes(9000)
      try mapping.write(first, at: 4000)
      try expect(file, at: 4000, holds: first, "stored, not yet synced")
      try mapping.sync()
      try expect(TestFile(mount.file, O_RDONLY | O_DIRECT), at: 4000, holds: first)

      let second = Pattern(seed: 32).bytes(9000)
      try file.write(second, at: 60_000)
      expect(try mapping.read(9000, at: 60_000), equals: second, "written to the file")
      let third = Pattern(seed: 33).bytes(8192)
      try mount.open(O_RDWR | O_DIRECT).write(third, at: 65_536)
      expect(try mapping.read(8192, at: 65_536), equals: third, "written with O_DIRECT")
      try expectBase(file, 0..<4000)
    }

    @Test func privateMapping() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 130_000))
      let file = try mount.open()
      let mapping = try Mapping(file, count: 130_000, flags: MAP_PRIVATE)
      let new = Pattern(seed: 34).bytes(5000)
      try mapping.write(new, at: 10_000)
      expect(try mapping.read(5000, at: 10_000), equals: new)
      try file.sync()
      try expectBase(file, 0..<130_000)
      #expect(try mount.overlaySpace() < 65_536)
    }

    @Test func mappingSurvivesUnlinkedDescriptors() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 65_536))
      let new = Pattern(seed: 35).bytes(3000)
      let mapping = try Mapping(mount.open(), count: 65_536, flags: MAP_SHARED)
      try mapping.write(new, at: 100)
      // The descriptor is closed by now; the pages are still to be written back.
      try expect(mount.open(O_RDONLY), at: 100, holds: new)
    }

    @Test func otherProcesses() async throws {
      let image = try sandbox.image(size: 1 << 20)
      let mount = try await sandbox.mount(image)
      let file = try mount.open()
      _ = try file.read(1 << 20, at: 0)  // cached from here on
      let new = Pattern(seed: 36).bytes(10_000)
      let source = try Image(sandbox.path + "/new", size: 0, mode: 0o644)
      try TestFile(source.path).write(new, at: 0)
      try await run("dd", "if=\(source.path)", "of=\(mount.file)", "bs=1000", "seek=7", "conv=notrunc")
      try expect(file, at: 7000, holds: new)

      try file.write(new, at: 500_000)
      let copy = sandbox.path + "/copy"
      try await run("dd", "if=\(mount.file)", "of=\(copy)", "bs=64k", "iflag=direct")
      try expect(TestFile(copy, O_RDONLY), at: 500_000, holds: new, "O_DIRECT elsewhere")
    }

    @Test(.needs(.program("perl")), arguments: [0, O_DIRECT])
    func disjointWritersOfTheSameBlocks(flag: CInt) async throws {
      let writers = 4
      let stripe = 512
      let size = 128 << 10
      let mount = try await sandbox.mount(sandbox.image(size: size), "--block-size", "64k")
      let script = #"""
        use Fcntl;
        my ($path, $flag, $writer, $writers, $stripe, $size) = @ARGV;
        sysopen my $file, $path, O_RDWR | $flag or die "open: $!";
        for (my $start = $writer * $stripe; $start < $size; $start += $writers * $stripe) {
          sysseek $file, $start, 0;
          syswrite($file, chr(0x41 + $writer) x $stripe) == $stripe or die "write: $!";
        }
        """#
      try await withThrowingTaskGroup(of: Void.self) { group in
        for writer in 0..<writers {
          let numbers = [Int(flag), writer, writers, stripe, size].map(String.init)
          group.addTask {
            let result = try await attempt("perl", ["-e", script, mount.file] + numbers)
            #expect(result.succeeded, "\(result.errors)")
          }
        }
        try await group.waitForAll()
      }
      let expected = (0..<size).map { UInt8(0x41 + $0 / stripe % writers) }
      try expect(mount.open(O_RDONLY | O_DIRECT), at: 0, holds: expected)
    }
  }
}
