// Who writes to an image beside QEMU, and does not lock it: the kernel itself. An image can be behind a loop device that is
// not read-only, and a block device can have a file system on it that is mounted, or be a part of a disk, or below a device,
// that has.
//
// Only what the kernel tells is looked at, in /sys and /proc. Where those are not to be had, nobody is found.

internal import CLinux
internal import DiskIO
internal import Glibc
internal import SystemPackage

/// What may write to an image.
public enum ImageWriter: Equatable, Sendable {
  /// A loop device that is not read-only.
  case loopDevice(String)
  /// A file system on a block device, mounted for writing at a place.
  case mount(device: String, place: String)
}

extension ImageWriter {
  /// What writes to an open file or block device.
  ///
  /// - Parameter path: where it is, absolute and without symbolic links.
  static func of(_ image: borrowing File, at path: FilePath) -> ImageWriter? {
    var status = stat()
    guard fstat(image.descriptor, &status) == 0 else { return nil }
    let isDevice = status.st_mode & S_IFMT == S_IFBLK
    if let name = loopDevice(on: status, named: path.lastComponent?.string ?? "") { return .loopDevice(name) }
    return isDevice ? mount(of: UInt64(status.st_rdev)) : nil
  }

  // MARK: Loop devices

  /// How long a device may take to go that detaches itself when its last user does.
  private static let farewell = (tries: 20, pause: UInt32(50_000))

  private static func loopDevice(on image: stat, named name: String) -> String? {
    for _ in 0..<farewell.tries {
      guard let found = BlockDevice.loopDevices.first(where: { $0.isLoop(on: image, named: name) }) else { return nil }
      guard found.detachesItself else { return "/dev/" + found.name }
      usleep(farewell.pause)
    }
    return BlockDevice.loopDevices.first { $0.isLoop(on: image, named: name) }.map { "/dev/" + $0.name }
  }

  // MARK: Mounts

  private static func mount(of number: UInt64) -> ImageWriter? {
    guard let device = BlockDevice.with(number) else { return nil }
    var devices: [BlockDevice] = []
    if let disk = device.disk { devices.append(disk) }
    device.collect(into: &devices)
    return (try? MountTable()).flatMap { find(devices, in: $0.entries) }
  }

  /// The first mount in a table whose file system is on one of the devices and can be written to.
  static func find(_ devices: [BlockDevice], in table: [MountTableEntry]) -> ImageWriter? {
    for entry in table where entry.options.split(separator: ",").contains("rw") {
      var number = BlockDevice.number(entry.device[...])
      // Some file systems have numbers of their own (btrfs).
      if entry.device.hasPrefix("0:"), entry.source.hasPrefix("/dev/") {
        var status = stat()
        guard stat(entry.source, &status) == 0 else { continue }
        number = UInt64(status.st_rdev)
      }
      if let device = devices.first(where: { $0.number == number }) {
        return .mount(device: "/dev/" + device.name, place: entry.mountpoint.carrier)
      }
    }
    return nil
  }
}

/// A block device as the kernel shows it in /sys.
struct BlockDevice: Equatable {
  /// As in /dev.
  let name: String
  /// As stat(2) has it.
  let number: UInt64
  /// Its folder in /sys, without symbolic links.
  private let folder: FilePath

  init(name: String, number: UInt64, folder: FilePath) {
    self.name = name
    self.number = number
    self.folder = folder
  }

  private init?(folder: FilePath) {
    guard let folder = try? folder.resolved(), let text = try? File.readText(folder.appending("dev")),
      let number = Self.number(text.prefix { !$0.isNewline })
    else { return nil }
    // A slash in a name is an exclamation mark there.
    self.init(name: (folder.lastComponent?.string ?? "").replacing("!", with: "/"), number: number, folder: folder)
  }

  /// All loop devices that are attached to something.
  static var loopDevices: [BlockDevice] {
    entries("/sys/block").filter {
      $0.lastComponent?.string.hasPrefix("loop") ?? false && access($0.appending("loop").string, F_OK) == 0
    }.compactMap { BlockDevice(folder: $0) }
  }

  static func with(_ number: UInt64) -> BlockDevice? {
    let major = number >> 8 & 0xFFF | number >> 32 & ~0xFFF
    let minor = number & 0xFF | number >> 12 & ~0xFF
    return BlockDevice(folder: FilePath("/sys/dev/block/\(major):\(minor)"))
  }

  /// From two decimal numbers with a colon between.
  static func number(_ text: Substring) -> UInt64? {
    let parts = text.split(separator: ":").map { UInt32($0) }
    guard parts.count == 2, let major = parts[0], let minor = parts[1] else { return nil }
    return clinux_device_number(major, minor)
  }

  private static func entries(_ folder: FilePath) -> [FilePath] {
    guard let directory = opendir(folder.string) else { return [] }
    defer { closedir(directory) }
    var entries: [FilePath] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if name != ".", name != ".." { entries.append(folder.appending(name)) }
    }
    return entries
  }

  private func text(_ name: String) -> String? {
    (try? File.readText(folder.appending(name))).map { String($0.prefix { !$0.isNewline }) }
  }

  private static func ask(_ path: String, _ backing: inout clinux_loop_backing) -> Bool {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor != -1 else { return false }
    defer { close(descriptor) }
    return clinux_loop_backing(descriptor, &backing) == 0
  }

  // MARK: What is around it

  private static func isPartition(_ folder: FilePath) -> Bool {
    access(folder.appending("partition").string, F_OK) == 0
  }

  /// The disk that it is a partition of.
  var disk: BlockDevice? {
    Self.isPartition(folder) ? BlockDevice(folder: folder.removingLastComponent()) : nil
  }

  /// Adds it, its partitions, and what is made of any of them (device mapper, md).
  func collect(into devices: inout [BlockDevice]) {
    guard !devices.contains(self) else { return }
    devices.append(self)
    let parts = Self.entries(folder).filter(Self.isPartition)
    for next in parts + Self.entries(folder.appending("holders")) {
      BlockDevice(folder: next)?.collect(into: &devices)
    }
  }

  // MARK: Loop devices

  /// Whether it goes away by itself when nobody uses it.
  var detachesItself: Bool { text("loop/autoclear") == "1" }

  /// Whether it is a loop device on this file or device that can be written to.
  ///
  /// - Parameter name: the file's; one that has no other links is behind no loop device whose file is called otherwise.
  ///   That spares the opening of devices which have nothing to do with it, and may be busy.
  func isLoop(on image: stat, named name: String) -> Bool {
    guard let path = text("loop/backing_file"), text("ro") == "0" else { return false }
    let isCalledSo = path.hasSuffix("/" + name) || path.hasSuffix(" (deleted)")
    guard isCalledSo || image.st_nlink > 1 || image.st_mode & S_IFMT == S_IFBLK else { return false }
    var backing = clinux_loop_backing()
    // Root is told by the device itself. Others go by the name, which may lead to something else by now.
    if !Self.ask("/dev/" + self.name, &backing) {
      var status = stat()
      guard stat(path, &status) == 0 else { return false }
      backing.device = UInt64(status.st_dev)
      backing.inode = UInt64(status.st_ino)
      backing.block_device = UInt64(status.st_rdev)
    }
    if image.st_mode & S_IFMT == S_IFBLK { return backing.block_device == UInt64(image.st_rdev) }
    return backing.device == UInt64(image.st_dev) && backing.inode == UInt64(image.st_ino)
  }
}
