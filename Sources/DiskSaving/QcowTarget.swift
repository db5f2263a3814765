// A qcow2 file as QEMU's own programs make it: qemu-img its empty form, and qemu-nbd what is in it, over a connection that
// nobody else can find. QEMU is told of the backing file's name and never opens it: clusters are written as a whole.

internal import CLinux
internal import DiskIO
internal import Glibc
internal import VirtualDisks
internal import SystemPackage

/// A qcow2 file in the making.
final class QcowTarget: SaveTarget {
  private let output: OutputFile
  private let path: FilePath
  private let diskSize: UInt64
  let size: UInt64
  private let writer: WritingServer

  /// Most bytes of one request to make zeros, a multiple of every cluster size.
  private static let mostZeros: UInt64 = 1 << 30

  /// - Parameter diskSize: bytes of the disk, a multiple of 512.
  init(
    _ output: OutputFile, at path: FilePath, diskSize: UInt64, over backing: Backing?, _ settings: SaveSettings
  ) throws(SaveError) {
    self.output = output
    self.path = path
    self.diskSize = diskSize
    // QEMU compresses whole clusters only, the last one included.
    size = settings.compresses ? ClusterRuns.roundUp(diskSize, settings.clusterSize) : diskSize
    output.bequeath()
    let below = backing.map { ["-u", "-F", $0.format, "-b", $0.name] } ?? []
    try QemuProgram.run(
      "qemu-img",
      ["create", "-q", "-f", "qcow2", "-o", "cluster_size=\(settings.clusterSize)"] + below
        + ["--", output.inheritedPath, "\(size)"], for: path)
    let node = Self.node(WritingServer.filePath)
    let exported = settings.compresses ? #"{"driver":"compress","file":\#(node)}"# : node
    do {
      writer = try WritingServer(["qemu-nbd", "--discard=unmap", "json:" + exported], file: output.file.descriptor)
    } catch {
      throw QemuProgram.error(error, for: path)
    }
  }

  /// The file alone, as QEMU describes it. Nobody else has it, so it needs no locks, which an unnamed file cannot always have.
  private static func node(_ path: String) -> String {
    let file = #"{"driver":"file","locking":"off","filename":"\#(path)"}"#
    return #"{"driver":"qcow2","backing":null,"file":\#(file)}"#
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(SaveError) {
    do { try writer.write(bytes, at: offset) } catch { throw QemuProgram.error(error, for: path) }
  }

  func zero(_ bytes: Range<UInt64>) throws(SaveError) {
    var rest = bytes
    while !rest.isEmpty {
      let next = rest.prefix(Self.mostZeros)
      do { try writer.zero(next) } catch { throw QemuProgram.error(error, for: path) }
      rest = next.upperBound..<rest.upperBound
    }
  }

  func finish() throws(SaveError) {
    do { try writer.finish() } catch { throw QemuProgram.error(error, for: path) }
    guard size != diskSize else { return }
    try QemuProgram.run(
      "qemu-img", ["resize", "-q", "--shrink", "--", "json:" + Self.node(output.inheritedPath), "\(diskSize)"],
      for: path)
  }
}

extension Range<UInt64> {
  fileprivate func prefix(_ count: UInt64) -> Range<UInt64> { lowerBound..<Swift.min(upperBound, lowerBound + count) }
}
