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

  /// Finds the mount of MOUNT or MOUNT@NAME, to look at it.
  ///
  /// - Returns: with it, which checkpoint is meant; nil for the disk as it is.
  func openState() throws(ControlError) -> (MountClient, CheckpointName?) {
    if let mark = mount.lastIndex(of: "@"), mark != mount.startIndex,
      let name = CheckpointName(String(mount[mount.index(after: mark)...])),
      let client = try? MountClient(FilePath(carriedBy: String(mount[..<mark])), for: .looking)
    {
      return (client, name)
    }
    return (try open(for: .looking), nil)
  }
}
