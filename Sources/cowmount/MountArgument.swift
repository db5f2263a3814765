// The argument of commands that are about a mount.

internal import ArgumentParser
internal import DiskIO
internal import MountControl
internal import SystemPackage

struct MountArgument: ParsableArguments {
  // The value's name has completion offer the mounts that there are.
  @Argument(help: ArgumentHelp("The mountpoint of a cowmount, or the file in it.", valueName: "mountpoint"))
  var mount: String

  var path: FilePath { FilePath(carriedBy: mount) }

  /// Finds the mount.
  func open(for access: MountClient.Access) throws(ControlError) -> MountClient {
    try MountClient(path, for: access)
  }
}
