// An exposed file as a loop device, with the ext4 in it mounted: what people do with a disk image.

import Glibc
import SystemPackage

/// A loop device over an exposed file. Taken apart with its stage.
struct LoopDevice {
  let device: FilePath
  let mountPoint: FilePath

  /// Attaches the file. `direct` makes the device go around the page cache of the file below.
  static func attach(_ exposed: Exposed, direct: Bool) async throws -> LoopDevice {
    let folder = exposed.stage.directory.appending("fs")
    try makeFolder(folder)
    // Found again by its file: an interrupt may come when the device is there and its name not yet known.
    exposed.stage.onTearDown {
      await unmount(folder)
      let listed = try? await command(
        "losetup", ["--noheadings", "--output", "NAME", "--associated", exposed.file.string])
      for name in (listed ?? "").split(whereSeparator: \.isWhitespace) {
        _ = try? await command("losetup", ["--detach", String(name)])
      }
    }
    let printed = try await command(
      "losetup", ["--find", "--show", "--direct-io=\(direct ? "on" : "off")", exposed.file.string])
    guard let name = printed.firstLine else { throw CommandFailed(description: "losetup: no device named") }
    // Asked for and refused, losetup only warns: a figure for direct I/O that went through the cache would be false.
    let state = try await command("losetup", ["--noheadings", "--output", "DIO", name])
    guard (state.firstLine?.contains("1") ?? false) == direct else {
      throw CommandFailed(description: "losetup: no direct I/O on this file")
    }
    return LoopDevice(device: FilePath(name), mountPoint: folder)
  }

  func mountFileSystem() throws {
    guard mount(device.string, mountPoint.string, "ext4", 0, nil) == 0 else {
      throw CommandFailed(description: "mount of the loop device: \(Errno(rawValue: errno))")
    }
  }

  func unmountFileSystem() async {
    await unmount(mountPoint)
  }
}
