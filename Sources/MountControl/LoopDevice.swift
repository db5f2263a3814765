// Loop devices over the files of a mount, as /sys shows them: whoever attached them, and wherever their node is.

internal import CLinux
internal import DiskIO
internal import Glibc
public import SystemPackage

/// A loop device that is attached to a file.
public struct LoopDevice: Equatable, Sendable {
  /// Its name: `loop0`.
  public let name: String
  /// The file that it is on, as the kernel names it.
  let backingFile: FilePath
  /// Its device number, and those of its partitions.
  let numbers: [UInt64]
  /// Devices made of it, or of its partitions: `dm-0`.
  public let holders: [String]

  /// Its node, where it usually is.
  public var node: FilePath { FilePath("/dev/\(name)") }

  private static let blocks: FilePath = "/sys/block"

  /// All that are attached.
  static func all() -> [LoopDevice] {
    directoryEntries(blocks).filter { $0.utf8.starts(with: "loop".utf8) }.compactMap { LoopDevice(name: $0) }
  }

  init?(name: String) {
    let folder = Self.blocks.appending(name)
    guard let backing = try? File.readBytes(folder.appending("loop/backing_file")) else { return nil }
    let partitions = directoryEntries(folder).filter { $0.utf8.starts(with: name.utf8) }
    let folders = [folder] + partitions.map { folder.appending($0) }
    self.name = name
    backingFile = FilePath(bytes: backing.prefix { $0 != UInt8(ascii: "\n") })
    numbers = folders.compactMap { (try? File.readText($0.appending("dev"))).flatMap(deviceNumber) }
    holders = folders.flatMap { directoryEntries($0.appending("holders")) }
  }

  /// Whether it is still attached to what it was.
  var isAttached: Bool { LoopDevice(name: name)?.backingFile == backingFile }

  /// Whether it is on a file of this file system, as far as that can be found out without asking the file system itself: by
  /// the path, and by the device where the node may be opened.
  ///
  /// - Parameter isAlive: whether the file system answers, since the kernel may ask it.
  func isOn(_ fileSystem: UInt64, mountedAt places: [FilePath], isAlive: Bool) -> Bool {
    guard places.contains(where: { backingFile.starts(with: $0) }) else { return false }
    guard isAlive, let device = try? File.open(node, in: AT_FDCWD, O_RDONLY | O_CLOEXEC | O_NONBLOCK) else {
      return true
    }
    var backing = clinux_loop_backing()
    return clinux_loop_backing(device.descriptor, &backing) == -1 || backing.device == fileSystem
  }

  /// Detaches it, where nobody uses it.
  ///
  /// - Returns: whether it is detached now, or will be when who has it open for a moment has closed it.
  func detach() -> Bool {
    // Exclusively: the kernel says whether a file system, a swap area or another device is on it, in whatever namespace.
    guard let device = try? File.open(node, in: AT_FDCWD, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_EXCL) else {
      return false
    }
    return isAttached && clinux_loop_detach(device.descriptor) == 0
  }
}

/// The names in a directory; none where it cannot be read.
func directoryEntries(_ path: FilePath) -> [String] {
  guard let directory = path.withPlatformString({ opendir($0) }) else { return [] }
  defer { closedir(directory) }
  var names: [String] = []
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    if name != ".", name != ".." { names.append(name) }
  }
  return names
}

/// A device number from its two parts in a text: `7:0`.
func deviceNumber(_ text: some StringProtocol) -> UInt64? {
  let parts = text.split(whereSeparator: { !$0.isNumber }).compactMap { UInt32($0) }
  return parts.count == 2 ? clinux_device_number(parts[0], parts[1]) : nil
}
