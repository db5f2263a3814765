// Whom the exposed file belongs to, and what they may do.

internal import DiskIO
internal import Glibc

/// Owner and permissions of the exposed file.
struct Owner {
  let user: uid_t
  let group: gid_t
  let permissions: mode_t

  /// For root, the image's own owner and permissions, so that the kernel's check lets in whom the image lets in. An
  /// ordinary user's mount belongs to that user, who could read the image; others get no more than everybody gets.
  ///
  /// - Parameters:
  ///   - mounter: the user and group who mount.
  init(of image: FileStatus, readOnly: Bool, mounter: (user: uid_t, group: gid_t)) {
    let ownerBits: mode_t = readOnly ? 0o400 : 0o600
    if mounter.user == 0 {
      user = image.user
      group = image.group
      permissions = (image.permissions & 0o777) | (readOnly ? 0 : 0o200)
    } else {
      (user, group) = mounter
      let others = image.permissions & 0o007
      let sameGroup = group == image.group ? image.permissions & 0o070 : others << 3
      permissions = ownerBits | sameGroup | others
    }
  }
}
