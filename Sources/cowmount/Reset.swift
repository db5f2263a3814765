// cowmount reset: throws changes away while the mount stays.

internal import ArgumentParser
internal import DiskIO
internal import MountControl
internal import MountedDisk

struct Reset: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Throw away all changes of a mount, or those since a checkpoint.",
    usage: "cowmount reset [--to <name>] [--force] [--json] <mountpoint>",
    discussion: "It is refused while anybody has the file open or mapped: they would see a disk change under them.")

  @OptionGroup
  var target: MountArgument

  @Option(name: .long, help: ArgumentHelp("The checkpoint to go back to. (default: the image)", valueName: "name"))
  var to: CheckpointName?

  @Flag(name: .long, help: "Go ahead while somebody has the file open, and say who may now hold stale data.")
  var force = false

  @Flag(name: .long, help: "Print JSON.")
  var json = false

  func run() throws {
    let client = try target.open(for: .changing)
    let users = force ? client.users : []
    try client.reset(to: to, isForced: force)
    if json {
      print(
        JSON.object([
          ("mountpoint", .string(client.mountpoint.carrier)), ("checkpoint", to.map { .string("\($0)") } ?? .null),
          ("stale", .array(users.map(\.json))),
        ]).text)
    } else {
      for user in users { Console.complain("\(target.mount): \(user.words) may now hold stale data") }
    }
  }
}
