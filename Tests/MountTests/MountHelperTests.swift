// `mount -t cowmount`: started by mount(8), which looks for its helpers in /sbin only. So there is one there, in a mount
// namespace of the test's own.

import Glibc
import Testing

extension Mounted {
  @Suite struct MountHelper {
    /// Runs a script with `$1`, the image, and `$2`, the mountpoint, where /sbin/mount.cowmount is the binary under test.
    private func inNamespace(_ script: String) async throws -> CommandResult {
      let room = try sandbox.directory("sbin")
      let prologue = """
        mount -t tmpfs tmpfs "$3"; mkdir "$3/upper" "$3/work"; ln -s "$4" "$3/upper/mount.cowmount"
        mount -t overlay overlay -o "lowerdir=/usr/sbin,upperdir=$3/upper,workdir=$3/work" /usr/sbin

        """
      let place = try sandbox.directory("mnt")
      let image = try sandbox.image(size: 5000).path
      return try await attempt(
        "unshare",
        [
          "--mount", "--propagation", "private", "sh", "-euc", prologue + script, "sh", image, place, room,
          Host.cowmount,
        ])
    }

    @Test(.needs(.root), .needs(.fileSystem("overlay")))
    func mounts() async throws {
      let result = try await inNamespace(
        """
        mount -t cowmount "$1" "$2" -o ro,name=other.img,nofail,_netdev,x-systemd.device-timeout=3
        findmnt --noheadings --output FSTYPE,SOURCE "$2"
        stat --format %s "$2/other.img"
        umount "$2"
        echo "$1 $2 cowmount block-size=64k,noauto,user=joe,x-systemd.automount 0 0" >"$3/fstab"
        mount --fstab "$3/fstab" "$2"
        stat --format %s "$2/disk.img"
        umount "$2"
        mount --fake -t cowmount "$1" "$2"
        findmnt "$2" || echo nothing
        """)
      #expect(result.succeeded, "\(result)")
      let lines = result.output.split(separator: "\n").map { $0.split(separator: " ").joined(separator: " ") }
      #expect(lines.first?.hasPrefix("fuse.cowmount ") == true && lines.dropFirst() == ["5000", "5000", "nothing"])
    }

    /// With mount(8)'s statuses.
    @Test(
      .needs(.root), .needs(.fileSystem("overlay")),
      arguments: [("remount", "-o remount is not supported", 1), ("overlay-dir=/no/where", "/no/where", 32)])
    func refuses(options: String, words: String, status: Int) async throws {
      let result = try await inNamespace(#"s=0; mount -t cowmount "$1" "$2" -o \#(options) || s=$?; echo "status $s""#)
      #expect(result.output.contains("status \(status)") && "\(result)".contains(words), "\(result)")
    }
  }
}
