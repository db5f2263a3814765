// Who has something of a mount open: loop devices, and processes as far as /proc lets the caller look. No file system is asked,
// for one that does not answer would keep the caller for ever.

internal import CLinux
internal import DiskIO
internal import Glibc
public import SystemPackage

/// Somebody who uses a mount.
public enum MountUser: Equatable, Sendable {
  /// A loop device on one of its files, and where it is mounted itself.
  case loop(LoopDevice, mountpoints: [FilePath])
  /// A process that has something of it open, mapped, or as its directory.
  case process(Int32, name: String)

  /// `/dev/loop0 (mounted at /mnt/disk)`, `qemu-system-x86 (process 1234)`.
  public var words: String {
    switch self {
    case .process(let id, let name): return "\(name) (process \(id))"
    case .loop(let loop, let mountpoints):
      let uses = mountpoints.map { "mounted at \($0)" } + loop.holders.map { "used by /dev/\($0)" }
      return uses.isEmpty ? "\(loop.node)" : "\(loop.node) (\(uses.joined(separator: ", ")))"
    }
  }
}

/// The users of some mounts, found by one look.
struct MountUsers {
  private let loops: [LoopDevice]
  private let table: [MountTableEntry]
  private let openFiles: OpenFiles

  /// Looks for whoever uses a file system of `devices`, given as in the mount table, or a loop device.
  ///
  /// - Parameter others: processes that do not count.
  init(of devices: [String], besides others: Set<pid_t>) {
    loops = LoopDevice.all()
    table = (try? MountTable().entries) ?? []
    openFiles = OpenFiles(
      on: Set(devices.compactMap(deviceNumber)), of: Set(loops.flatMap(\.numbers)), besides: others.union([getpid()]))
  }

  /// Who uses the file system of a device.
  ///
  /// - Parameter isAlive: whether it answers.
  func of(_ device: String, isAlive: Bool) -> [MountUser] {
    guard let number = deviceNumber(device) else { return [] }
    let places = table.filter { $0.device == device }.map(\.mountpoint)
    let ours = loops.filter { $0.isOn(number, mountedAt: places, isAlive: isAlive) }
    return ours.map { .loop($0, mountpoints: mountpoints(of: $0)) } + processes(openFiles.users[number])
  }

  /// Which processes have a loop device open.
  func of(_ loop: LoopDevice) -> [MountUser] { loop.numbers.flatMap { processes(openFiles.users[$0]) } }

  private func processes(_ ids: [pid_t]?) -> [MountUser] {
    (ids ?? []).map { .process($0, name: processName($0) ?? "?") }
  }

  private func mountpoints(of loop: LoopDevice) -> [FilePath] {
    table.filter { entry in deviceNumber(entry.device).map(loop.numbers.contains) ?? false }.map(\.mountpoint)
  }
}

/// What a process calls itself.
func processName(_ id: pid_t) -> String? {
  (try? File.readText(FilePath("/proc/\(id)/comm"))).map { String($0.prefix { $0 != "\n" }).printable }
}

/// Which processes have files of some file systems, or some devices, open.
struct OpenFiles {
  /// Processes by the number of the file system or device.
  private(set) var users: [UInt64: [pid_t]] = [:]

  init(on fileSystems: Set<UInt64>, of devices: Set<UInt64>, besides others: Set<pid_t>) {
    for name in directoryEntries("/proc") {
      guard let id = pid_t(name), !others.contains(id) else { continue }
      for number in Self.numbers(of: id, fileSystems, devices) { users[number, default: []].append(id) }
    }
  }

  private static func numbers(of id: pid_t, _ fileSystems: Set<UInt64>, _ devices: Set<UInt64>) -> Set<UInt64> {
    var found: Set<UInt64> = []
    let folder = "/proc/\(id)"
    let links = ["cwd", "root"] + directoryEntries(FilePath(folder + "/fd")).map { "fd/" + $0 }
    for link in links {
      var place = clinux_file_place()
      guard clinux_file_place("\(folder)/\(link)", &place) == 0 else { continue }
      if fileSystems.contains(place.device) { found.insert(place.device) }
      if place.block_device != 0, devices.contains(place.block_device) { found.insert(place.block_device) }
    }
    let missing = fileSystems.subtracting(found)
    guard !missing.isEmpty, let maps = try? File.readBytes(FilePath(folder + "/maps")) else { return found }
    return found.union(missing.filter { isMapped($0, in: maps) })
  }

  /// Whether a process's table of mappings (proc(5)) has one of a file on this file system.
  static func isMapped(_ fileSystem: UInt64, in maps: [UInt8]) -> Bool {
    // 7f5e2d000000-7f5e2d021000 rw-s 00000000 00:3a 2    /mnt/overlay/disk.img
    var text = [CChar](repeating: 0, count: 32)
    clinux_device_in_maps(fileSystem, &text)
    let device = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    let blank = [UInt8(ascii: " ")]
    let wanted = blank + device + blank
    guard maps.withUnsafeBytes({ clinux_find_bytes($0.baseAddress, $0.count, wanted, wanted.count) }) != -1 else {
      return false
    }
    // Nearly none gets here. The name of a file may look like that, too.
    return maps.split(separator: UInt8(ascii: "\n")).contains { line in
      let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 4)
      return fields.count > 3 && fields[3].elementsEqual(device)
    }
  }
}
