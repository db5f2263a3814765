// Many bytes through a loop-mounted ext4 while the server, the writer or both have little memory: nobody may wait for
// himself, and nobody is killed for want of memory.

internal import Glibc

final class SmallMemory {
  private let stage: Stage
  private let limit: Int
  private let written: Int

  init(_ stage: Stage, limit: Int, written: Int) {
    self.stage = stage
    self.limit = limit
    self.written = written
  }

  /// Who has little memory.
  enum Who: String, CaseIterable {
    case server
    case writer
    case both = "server and writer"
  }

  func run(directIO: Bool, limiting who: Who) throws -> String {
    guard let group = try MemoryGroup(limit: limit) else { throw Skip("memory: no memory cgroup here") }
    guard Child.isInstalled("mkfs.ext4"), Child.isInstalled("losetup") else {
      throw Skip("memory: needs mkfs.ext4 and losetup")
    }
    defer { _ = group.remove() }
    let image = try stage.directory("image") + "/disk.img"
    try OpenFile(image, O_RDWR | O_CREAT).resize(to: written + written / 4 + (64 << 20))
    try Orders.makeFileSystem(on: image)
    let guest = try stage.directory("guest")
    var told = ""
    try Watchdog.guarding("writing in little memory", on: stage, seconds: 60 + Double(written >> 20)) {
      let server = try Server(stage, image: image, group: who == .writer ? nil : group.path)
      if who == .both, !group.isVersion2, !isFlusher(server) {
        try server.unmount()
        throw Skip(
          "memory: server and writer in one cgroup of version 1, without CAP_SYS_RESOURCE for PR_SET_IO_FLUSHER: the "
            + "kernel lets reclaim wait for the server's own work")
      }
      let loop = try LoopDevice(stage, file: server.file, directIO: directIO)
      try mustRun("mount", loop.path, guest)
      let start = now()
      try write(guest + "/large", within: who == .server ? nil : group)
      try mustRun("umount", guest, limit: 120)
      try loop.detach()
      guard server.isAlive else { throw Failure("cowmount died: \(readText(server.log) ?? "")") }
      let kills = group.kills
      if kills > 0 { throw Failure("\(kills) processes were killed for want of memory") }
      told = "\(Int(Double(written >> 20) / (now() - start))) MiB/s, at most \(group.peak >> 20) MiB in use"
      try server.unmount()
    }
    unlink(image)
    guard group.remove() else { throw Failure("somebody is left in \(group.path)") }
    return told
  }

  /// Whether the kernel keeps reclaim from waiting in the server (PF_MEMALLOC_NOIO, from PR_SET_IO_FLUSHER).
  private func isFlusher(_ server: Server) -> Bool {
    let line = readText("/proc/\(server.serving)/stat") ?? ""
    let fields = line[(line.lastIndex(of: ")") ?? line.startIndex)...].split(separator: " ")
    return fields.count > 7 && (UInt64(fields[7]) ?? 0) & 0x80000 != 0
  }

  /// Writes and compares, in a process of its own.
  private func write(_ file: String, within group: MemoryGroup?) throws {
    let count = "\(written >> 20)"
    let script = #"""
      [ -z "$1" ] || echo $$ > "$1/cgroup.procs"
      exec "$2" bulk --file "$3" --mebibytes "$4"
      """#
    let child = try Child(["sh", "-euc", script, "sh", group?.path ?? "", "/proc/\(getpid())/exe", file, count])
    defer { child.end() }
    while child.poll() == nil { usleep(10_000) }
    guard child.poll() == 0 else { throw Failure("the writer ended with status \(child.poll() ?? -1)") }
  }
}

/// A memory cgroup, of version 2 or 1.
final class MemoryGroup {
  let path: String
  let isVersion2: Bool

  /// - Returns: nil where this machine has none that can be used.
  init?(limit: Int) throws {
    let name = "cowsoak.\(getpid())"
    let hierarchies = [
      ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", false), ("/sys/fs/cgroup", "memory.max", true),
    ]
    for (parent, file, isVersion2) in hierarchies {
      let path = "\(parent)/\(name)"
      guard mkdir(path, 0o755) == 0 || errno == EEXIST else { continue }
      guard access("\(path)/\(file)", W_OK) == 0 else {
        rmdir(path)
        continue
      }
      try writeText("\(limit)", to: "\(path)/\(file)")
      self.path = path
      self.isVersion2 = isVersion2
      return
    }
    return nil
  }

  /// Processes that were killed for want of memory.
  var kills: Int {
    let text = readText("\(path)/\(isVersion2 ? "memory.events" : "memory.oom_control")") ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("oom_kill ") }
    return line?.split(separator: " ").last.flatMap { Int($0) } ?? 0
  }

  var peak: Int {
    let text = readText("\(path)/\(isVersion2 ? "memory.peak" : "memory.max_usage_in_bytes")") ?? ""
    return Int(text.prefix { $0.isNumber }) ?? 0
  }

  /// Whether it is gone.
  func remove() -> Bool { eventually(10) { rmdir(path) == 0 || errno == ENOENT } }
}
