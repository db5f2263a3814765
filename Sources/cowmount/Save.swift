// cowmount save: the changes of a mount, or all of its disk, in a file.

public import ArgumentParser
internal import DiskIO
public import DiskSaving
internal import Glibc
internal import MountControl
internal import MountedDisk
internal import SystemPackage

struct Save: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Save what was changed on a mount as a qcow2 file.",
    usage: "cowmount save [<options>] <mountpoint>[@<name>] <output>",
    discussion: """
      `cowmount save /mnt/overlay changes.qcow2` makes a qcow2 file of the changes, whose backing file is the image. \
      `cowmount --format qcow2 changes.qcow2 /mnt/two` goes on from there. With @<name> behind the mountpoint, it saves that checkpoint instead of the disk as it is. \
      The mount stays as it is.
      """)

  @OptionGroup
  var target: MountArgument

  @Argument(help: "The file to make.")
  var output: String

  @Option(
    name: .long,
    help: ArgumentHelp(
      "What to make: qcow2, or raw, which has all of the disk and holes where it is zeros.", valueName: "format"))
  var format = SaveSettings.Format.qcow2

  @Flag(name: .long, help: "Save all of the disk, so that the image is not needed.")
  var full = false

  @Flag(name: .long, help: "Compress clusters.")
  var compress = false

  @Option(
    name: .long,
    help: ArgumentHelp("Clusters of the qcow2 file, a power of two from 512 to 2M. (default: 64k)", valueName: "size"))
  var clusterSize: ByteSize?

  @Flag(name: .long, help: "Replace the file where there is one.")
  var force = false

  mutating func validate() throws {
    if let clusterSize, !(512...2 << 20).contains(clusterSize.bytes) || clusterSize.bytes.nonzeroBitCount != 1 {
      throw ValidationError("--cluster-size \(clusterSize) must be a power of two from 512 to 2M")
    }
    if format == .raw, compress || clusterSize != nil {
      throw ValidationError("--\(compress ? "compress" : "cluster-size") has a meaning with --format qcow2 only")
    }
    if output.isEmpty { throw ValidationError("there is no name for the file to make") }
  }

  func run() throws {
    let (client, checkpoint) = try target.openState()
    var settings = SaveSettings(to: FilePath(carriedBy: output))
    settings.format = format
    settings.isFull = full
    settings.compresses = compress
    settings.clusterSize = clusterSize?.bytes ?? settings.clusterSize
    settings.replaces = force
    let progress = SaveProgress()
    defer { progress.end() }
    try Saving.run(client, checkpoint, settings, progress: progress.tell) { Console.complain($0) }
  }
}

extension SaveSettings.Format: ExpressibleByArgument {}

/// How far it is, on a terminal.
private final class SaveProgress {
  private let isShown = isatty(STDERR_FILENO) == 1
  private let beginning = ContinuousClock.now
  private var last: ContinuousClock.Instant?

  /// Shows it, a few times a second.
  func tell(_ done: UInt64, _ all: UInt64) {
    guard isShown else { return }
    let now = ContinuousClock.now
    if let last, now - last < .milliseconds(200) { return }
    last = now
    write("\rsaving: " + Self.words(done, all, after: now - beginning) + "\u{1b}[K")
  }

  /// Bytes, rate and time left.
  static func words(_ done: UInt64, _ all: UInt64, after time: Duration) -> String {
    let amount = "\(humanSize(done)) of \(humanSize(all))"
    let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) / 1e18
    guard done > 0, seconds >= 0.2 else { return amount }
    let rate = Double(done) / seconds
    let left = UInt64((Double(all - min(done, all)) / rate).rounded(.up))
    return "\(amount), \(humanSize(UInt64(rate)))/s, \(left / 60):\(left % 60 < 10 ? "0" : "")\(left % 60) left"
  }

  /// Takes the line away.
  func end() {
    if last != nil { write("\r\u{1b}[K") }
  }

  private func write(_ text: String) {
    var text = text
    text.withUTF8 { _ = Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
