// Little memory: programs in a small memory cgroup write through a loop device. To get memory they wait for what is
// written back, so the process that serves it must get through. It may be in the cgroup itself where the kernel lets it
// say that it serves reclaim; elsewhere it would wait for itself.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.root, .program("losetup"), .program("mkfs.ext4"))) struct SmallMemory {
    private static let limit = 48 << 20

    @Test(arguments: ["off", "on"], [false, true])
    func loopDevice(directIO: String, isServerInside: Bool) async throws {
      guard let group = try sandbox.controlGroup("memory", limit: Self.limit) else {
        try Skips.skipRest("no memory cgroups here")
      }
      let image = try sandbox.image(size: 256 << 20, data: [])
      let mount = try await sandbox.mount(image, within: isServerInside ? group : nil)
      if isServerInside, try !mount.daemon.server.isFlusher() {
        #expect(try !mount.daemon.mayServeReclaim(), "it did not ask, though it may")
        try Skips.skipRest("no right to PR_SET_IO_FLUSHER here")
      }
      let device = try await sandbox.loopDevice(mount.file, "--direct-io=\(directIO)")
      try await run("mkfs.ext4", "-q", device)
      let guest = try sandbox.directory("guest")
      try await sandbox.mountOther(device, at: guest)
      // Four times the memory that there is.
      let script = #"""
        echo $$ > "$2/cgroup.procs"
        dd if=/dev/zero of="$1/large" bs=1M count=192 conv=fsync 2>&1
        cmp -n 201326592 "$1/large" /dev/zero
        """#
      try await shell(script, guest, group, limit: .seconds(90))
      #expect(mount.daemon.isAlive)
    }
  }
}
