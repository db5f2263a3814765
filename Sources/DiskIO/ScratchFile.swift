// The unnamed file that holds an overlay. It has no name from the start where the file system can do that (O_TMPFILE), and
// can never get one (O_EXCL), so that no crash leaves it behind and nobody can open, replace or redirect it; elsewhere it is created under a random
// name with mode 0600 and unlinked before a byte is in it.

public import SystemPackage

internal import CLinux
internal import Glibc

extension File {
  /// Creates an empty unnamed file, mode 0600, in `directory`.
  public static func scratch(in directory: FilePath) throws(Errno) -> File {
    var file: File
    do {
      file = try open(directory, O_RDWR | O_CLOEXEC | O_EXCL | clinux_o_tmpfile, mode: 0o600)
    } catch .notSupported, .isDirectory, .invalidArgument {
      // The file system has no O_TMPFILE (open(2)); EISDIR and EINVAL come from older kernels and some FUSE servers.
      file = try unlinkedTemporary(in: directory)
    }
    // Copy-on-write below copy-on-write only fragments (btrfs). Elsewhere the flag does not exist: nothing is lost.
    _ = clinux_set_nocow(file.descriptor)
    file.takeFaultsOfProcess(.overlay)
    return file
  }

  /// Creates an empty unnamed file in memory (memfd_create(2)). It counts as this process's memory and can be swapped.
  public static func scratchInMemory() throws(Errno) -> File {
    var file = File(adopting: try retryingInterrupts { clinux_memory_file("cowmount-overlay") })
    file.takeFaultsOfProcess(.overlay)
    return file
  }

  /// Takes over the descriptor of a scratch file that another process made.
  public static func scratch(adopting descriptor: CInt) -> File {
    var file = File(adopting: descriptor)
    file.takeFaultsOfProcess(.overlay)
    return file
  }

  private static func unlinkedTemporary(in directory: FilePath) throws(Errno) -> File {
    let template = directory.appending("cowmount.XXXXXX")
    let descriptor = try retryingInterrupts { template.withPlatformString { clinux_unlinked_temporary($0) } }
    return File(adopting: descriptor)
  }
}
