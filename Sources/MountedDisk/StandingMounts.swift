// The mounts of cowmount that stand.

internal import DiskIO
public import SystemPackage

/// The mounts of cowmount that this process sees.
public enum StandingMounts {
  /// Where they are, oldest first; none where the mount table cannot be read.
  public static var paths: [FilePath] {
    let entries = (try? MountTable().entries) ?? []
    return entries.filter { $0.type == "fuse.cowmount" }.map(\.mountpoint)
  }
}
