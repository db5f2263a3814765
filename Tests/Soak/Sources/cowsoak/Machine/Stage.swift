// Where a soak takes place: a directory of its own, whose end takes down everything that was begun in it.

internal import Glibc

final class Stage {
  let path: String
  /// The binary under test.
  let cowmount: String
  private var counter = 0

  init(cowmount: String) throws {
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/var/tmp"
    var template = Array("\(parent)/cowsoak.XXXXXX".utf8CString)
    guard let made = mkdtemp(&template), let resolved = realpath(made, nil) else {
      throw Failure("no directory can be made in \(parent)")
    }
    path = String(cString: resolved)
    free(resolved)
    self.cowmount = cowmount
  }

  /// A new empty directory.
  func directory(_ name: String) throws -> String {
    counter += 1
    let directory = "\(path)/\(name)\(counter)"
    guard mkdir(directory, 0o755) == 0 else { throw Failure("mkdir \(directory) failed") }
    return directory
  }

  /// Processes of cowmount that have to do with this stage.
  func servers() -> [pid_t] {
    entries("/proc").compactMap { pid_t($0) }.filter { pid in
      (readText("/proc/\(pid)/comm") ?? "").hasPrefix("cowmount") && isOurs(pid)
    }
  }

  /// Those of them that have the caller's rights, one a mount.
  func keepers() -> [pid_t] { servers().filter { readText("/proc/\($0)/comm") == "cowmount\n" } }

  private func isOurs(_ pid: pid_t) -> Bool { (readText("/proc/\(pid)/cmdline") ?? "").contains(path + "/") }

  /// Ends every request that waits for a server of ours: what hangs in the kernel, and cannot be killed, then fails.
  static func abortRequests(_ path: String) {
    for entry in MountEntry.under(path) where entry.type == "fuse.cowmount" {
      umount2(entry.mountpoint, CInt(MNT_FORCE))
    }
  }

  /// Takes down what is left; what there was.
  func clear() -> [String] {
    var leftovers: [String] = []
    for pid in servers() {
      leftovers.append("process \(pid)")
      kill(pid, SIGKILL)
    }
    if !leftovers.isEmpty { Self.abortRequests(path) }
    for device in loopDevices() {
      leftovers.append("loop device \(device)")
      _ = try? attempt("losetup", "--detach", device)
    }
    for entry in MountEntry.under(path).reversed() {
      leftovers.append("mount \(entry.mountpoint)")
      umount2(entry.mountpoint, CInt(MNT_FORCE))
      umount2(entry.mountpoint, CInt(MNT_DETACH))
    }
    return leftovers
  }

  private func loopDevices() -> [String] {
    entries("/sys/block").filter { $0.hasPrefix("loop") }.filter {
      (readText("/sys/block/\($0)/loop/backing_file") ?? "").hasPrefix(path + "/")
    }.map { "/dev/\($0)" }
  }

  /// Takes down everything, and the directory.
  func end() {
    _ = clear()
    // Should a mount have stayed all the same, it is not emptied.
    _ = try? attempt("rm", "-rf", "--one-file-system", path)
  }
}
