// cowmount checkpoint: freezes a mounted disk as it is, or deletes what was frozen.

public import ArgumentParser
internal import DiskIO
public import MountControl

struct Checkpoint: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Freeze a mounted disk as it is, under a name.",
    usage: "cowmount checkpoint [--delete] [--json] <mountpoint> <name>",
    discussion: """
      In a directory the checkpoint is a file beside the other, disk.img@<name>, which can only be read. Removing that \
      file deletes the checkpoint, too.
      """)

  @OptionGroup
  var target: MountArgument

  @Argument(help: "What the checkpoint is called.")
  var name: CheckpointName

  @Flag(name: .long, help: "Delete the checkpoint of this name.")
  var delete = false

  @Flag(name: .long, help: "Print JSON.")
  var json = false

  func run() throws {
    let client = try target.open(for: .changing)
    if delete {
      try client.deleteCheckpoint(name)
    } else {
      // What the kernel holds back belongs to it.
      try client.flush()
      try client.checkpoint(name)
    }
    guard json else { return }
    print(
      JSON.object([
        ("mountpoint", .string(client.mountpoint.carrier)), ("checkpoint", .string("\(name)")),
        ("deleted", .bool(delete)),
      ]).text)
  }
}

extension CheckpointName: ExpressibleByArgument {
  /// Takes a name that a checkpoint may have.
  public init?(argument: String) { self.init(argument) }
}
