// fio writes with several jobs and reads back what it wrote, checksums in every block.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.program("fio"))) struct Fio {
    @Test(arguments: ["0", "1"], ["randwrite", "randrw", "randtrimwrite"])
    func verify(direct: String, pattern: String) async throws {
      // Trims need a block device; for a file, writes of two sizes at offsets of the smaller one.
      let isMixed = pattern == "randtrimwrite"
      let mount = try await sandbox.mount(sandbox.image(size: 32 << 20), "--block-size", "64k")
      let arguments = [
        "--name=verify", "--filename=\(mount.file)", "--rw=\(isMixed ? "randwrite" : pattern)",
        isMixed ? "--bsrange=512-32k" : "--bs=4k", isMixed ? "--blockalign=512" : "--blockalign=4k", "--size=8M",
        "--numjobs=4", "--offset_increment=8M", "--ioengine=psync", "--direct=\(direct)", "--verify=crc32c",
        "--do_verify=1", "--verify_fatal=1", "--group_reporting", "--minimal", "--thread",
      ]
      let result = try await attempt("fio", arguments, in: sandbox.path)
      #expect(result.succeeded && !result.errors.contains("verify"), "\(result)")
      #expect(try mount.open().size == 32 << 20)
    }

    @Test func asynchronousQueue() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 16 << 20))
      let arguments = [
        "--name=verify", "--filename=\(mount.file)", "--rw=randwrite", "--bs=4k", "--size=16M", "--iodepth=32",
        "--ioengine=libaio", "--direct=1", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--minimal",
        "--thread",
      ]
      let result = try await attempt("fio", arguments, in: sandbox.path)
      #expect(result.succeeded && !result.errors.contains("verify"), "\(result)")
    }
  }
}
