// What the process gives up before it serves anybody, and what it asks of the kernel.

internal import BaseImage
internal import CLinux
internal import Glibc

enum Privileges {
  /// Lets go of descriptors that the caller left open, so that a mount never keeps another program's lock or pipe.
  static func closeInherited() {
    clinux_close_from(3)
  }

  /// Gives up what serving does not need, for the calling thread and those it starts. Workers call it before they serve
  /// anybody, the first thread when the mount stands.
  ///
  /// Root keeps two capabilities: to mount and unmount, and to reach a mountpoint below a directory that is closed to it;
  /// and one more, to open what is closed to it, where the image needs that.
  /// An ordinary user has none to give up, and must be able to run fusermount3, which is set-uid, for unmounting.
  static func drop(for image: any Image) {
    // With dirty pages of this mount in memory, reclaim waits for us; so we must not wait for reclaim. Needs
    // CAP_SYS_RESOURCE. Without it one case is left, in a memory cgroup of version 1 that this process shares with a program
    // that writes through a loop device: the kernel has an allocation of ours wait for that program's write-back, which
    // waits for us (shrink_folio_list). Cgroups of version 2 throttle writers instead.
    _ = clinux_set_io_flusher()
    guard geteuid() == 0 else { return }
    var kept = [clinux_cap_sys_admin, clinux_cap_dac_read_search]
    if image.needsRightsLater { kept.append(clinux_cap_dac_override) }
    _ = clinux_keep_capabilities(kept.reduce(0) { $0 | UInt64(1) << UInt64($1) })
    // What these two would still allow, and serving never does. The price is some 30 ns a call, of which a request has two.
    _ = clinux_refuse_calls()
  }
}
