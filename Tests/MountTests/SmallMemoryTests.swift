// Little memory: programs in a small memory cgroup write through a loop device. To get memory they wait for what is
// written back, so the process that serves it must get through. It may be in the cgroup itself where the kernel lets it
// say that it serves reclaim; elsewhere it would wait for itself.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.root, .program("losetup"), .program("mkfs.ext4"))) struct SmallMemory {
    private static let limit = 48 << 20

    /// A new memory cgroup of the hierarchy that this machine has, or nil.
    private func group() throws -> String? {
      let name = "cowmount-test.\(getpid())"
      let groups = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
      for (parent, limit) in groups {
        let path = "\(parent)/\(name)"
        guard mkdir(path, 0o755) == 0 else { continue }
        sandbox.atEnd {
          let isEmpty = try await eventually { rmdir(path) == 0 }
          #expect(isEmpty, "somebody is left in \(path)")
        }
        guard let file = try? TestFile("\(path)/\(limit)", O_WRONLY) else { continue }
        try file.write(Array("\(Self.limit)".utf8), at: 0)
        return path
      }
      return nil
    }

    @Test(arguments: ["off", "on"], [false, true])
    func loopDevice(directIO: String, isServerInside: Bool) async throws {
      guard let group = try group() else { try Skips.skipRest("no memory cgroups here") }
      let image = try sandbox.image(size: 256 << 20, data: [])
      let mount = try await sandbox.mount(image, within: isServerInside ? group : nil)
      if isServerInside, try !mount.daemon.isFlusher() { try Skips.skipRest("no right to PR_SET_IO_FLUSHER here") }
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
