// The kernel's list of mounts, which answers without touching any of them.

struct MountEntry {
  let mountpoint: String
  let type: String

  static func all() -> [MountEntry] {
    (readText("/proc/self/mountinfo") ?? "").split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      guard let dash = fields.firstIndex(of: "-"), fields.count > dash + 1 else { return nil }
      // The soak's own paths have no blanks.
      return MountEntry(mountpoint: String(fields[4]), type: String(fields[dash + 1]))
    }
  }

  static func at(_ path: String) -> MountEntry? { all().last { $0.mountpoint == path } }

  static func under(_ path: String) -> [MountEntry] { all().filter { $0.mountpoint.hasPrefix(path + "/") } }
}
