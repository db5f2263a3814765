// File systems with little space, for overlays that fill them.

import Glibc

extension Sandbox {
  /// Mounts a new file system of this size, tmpfs or one that has a mkfs, until the test ends.
  func smallFileSystem(_ type: String, size: String) async throws -> String {
    let place = try directory(type)
    if type == "tmpfs" {
      try await mountOther("-t", "tmpfs", "-o", "size=\(size)", "tmpfs", at: place)
    } else {
      let file = place + ".img"
      try await run("truncate", "-s", size, file)
      // Nothing kept back for root.
      let options = type == "ext4" ? "-F -m 0 -O ^has_journal" : ""
      try await shell("mkfs.\(type) -q \(options) \"$1\"", file)
      let device = try await loopDevice(file)
      try await mountOther(device, at: place)
      try await run("rm", "-rf", place + "/lost+found")
    }
    chmod(place, 0o777)
    return place
  }
}
