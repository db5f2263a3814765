// Saving what was changed on a mount, or all of its disk, from outside and with the caller's own rights.

internal import CLinux
internal import DiskIO
public import MountControl
internal import SystemPackage

/// Saves disks.
public enum Saving {
  /// Saves a disk. Single-threaded callers only: it starts programs, and signals that end the process clean up.
  ///
  /// - Parameters:
  ///   - client: the mount, opened for looking.
  ///   - checkpoint: what is saved; nil for the disk as it is.
  ///   - progress: called now and then with the bytes that were saved, and all that are to be.
  ///   - note: called with a line that the user should know.
  /// - Throws: why it was not saved; then nothing was left behind.
  public static func run(
    _ client: MountClient, _ checkpoint: CheckpointName?, _ settings: SaveSettings,
    progress: @escaping (UInt64, UInt64) -> Void, note: (String) -> Void
  ) throws(SaveError) {
    clinux_end_on_signals("cowmount: interrupted; nothing was saved\n")
    defer { clinux_end_on_signals(nil) }
    let status: MountStatus
    do { status = try client.status() } catch { throw .mount(error) }
    let isRaw = settings.format == .raw
    if !isRaw {
      try QemuProgram.find("qemu-img")
      try QemuProgram.find("qemu-nbd")
    }
    let exposed = client.filePath ?? client.path
    let backing = isRaw || settings.isFull ? nil : try Backing(of: status.base, source: client.entry.source)
    let output = try OutputFile(
      settings.output, replaces: settings.replaces, try others(client, exposed, image: status.base.source))
    let state = try SavedState(client, checkpoint, exposed: exposed)
    if let users = state.users {
      note("\(exposed) is open for writing\(SaveError.by(users)): \(Self.afterPowerCut)")
    }
    let size = state.size
    let diskSize = isRaw ? size : ClusterRuns.roundUp(size, Backing.sectorSize)
    if diskSize != size {
      note("\(exposed) has \(size) bytes, and the saved disk \(diskSize): qcow2 counts in 512 bytes")
    }
    let target: any SaveTarget =
      isRaw
      ? try RawTarget(output, at: settings.output, size: size)
      : try QcowTarget(output, at: settings.output, diskSize: diskSize, over: backing, settings)
    var disk = DiskCopy(
      state, diskSize: target.size, backing: backing, clusterSize: isRaw ? Self.page : settings.clusterSize,
      progress: progress)
    try disk.copy(to: target)
    try target.finish()
    if state.hadWriters { throw .writtenMeanwhile(exposed) }
    try output.publish()
  }

  /// What a hole of a file is made of, in bytes.
  private static let page: UInt64 = 4096

  private static let afterPowerCut = """
    a file system that is mounted from it is saved as after a power cut, unless it was frozen (fsfreeze)
    """

  private static func others(
    _ client: MountClient, _ exposed: FilePath, image: String
  ) throws(SaveError) -> OutputFile.Others {
    do throws(Errno) {
      let status = try client.file.status()
      return OutputFile.Others(
        image: try? FileStatus(of: FilePath(image)).identity, mountDevice: status.identity.device,
        mountpoint: client.mountpoint, permissions: status.permissions)
    } catch {
      throw .unreadable(exposed, error)
    }
  }
}
