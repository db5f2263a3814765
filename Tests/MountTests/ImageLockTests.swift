// The lock on the image, with QEMU on the other side: QEMU does not write to a mounted image, and what QEMU writes to is not
// mounted.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.program("qemu-io"))) struct ImageLock {
    @Test func qemuDoesNotWriteToAMountedImage() async throws {
      let image = try sandbox.image(size: 1 << 20, mode: 0o644)
      let mount = try await sandbox.mount(image)
      let writer = try await attempt("qemu-io", ["-f", "raw", "-c", "write 0 512", image.path])
      #expect(writer.status != 0, "\(writer)")
      #expect(writer.errors.contains("lock"), "\(writer)")
      let reader = try await attempt("qemu-io", ["-r", "-f", "raw", "-c", "read 0 512", image.path])
      #expect(reader.succeeded, "\(reader)")
      try expectBase(mount.open(), 0..<1 << 20)
      try await mount.unmount()
      try await run("qemu-io", "-f", "raw", "-c", "write 0 512", image.path)
    }

    @Test func anImageThatQemuWritesToIsRefused() async throws {
      let image = try sandbox.image(size: 1 << 20, mode: 0o644)
      let (place, overlays) = try (sandbox.directory("mnt"), sandbox.directory("overlay"))
      let stop = try sandbox.directory("stop") + "/now"
      let script = #"(echo "write -P 1 0 512"; while [ ! -e "$2" ]; do sleep 0.05; done) | qemu-io -f raw "$1""#
      let qemu = Task { [image] in try await shell(script, image.path, stop) }
      #expect(try await eventually { try TestFile(image.path, O_RDONLY).read(1, at: 0) == [1] })

      let arguments = ["--overlay-dir", overlays, image.path, place]
      try await expectRefusal(arguments, naming: image.path, "--force-share", status: 1)
      try await run(Host.cowmount, "--force-share", "--overlay-dir", overlays, image.path, place)
      #expect(try TestFile(place + "/disk.img", O_RDONLY).read(1, at: 0) == [1])
      try await run("fusermount3", "-u", place)

      try TestFile(stop, O_CREAT | O_WRONLY).close()
      _ = try await qemu.value
      try await run(Host.cowmount, "--overlay-dir", overlays, image.path, place)
      try await run("fusermount3", "-u", place)
      #expect(try await eventually { Daemon.find(mentioning: place).allSatisfy { !$0.isAlive } })
    }
  }
}
