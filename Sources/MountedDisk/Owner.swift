// Whom the exposed file belongs to, and what they may do. A mount has one file with plain permission bits, and the kernel
// checks those alone. What they let in must be no more than the image let in with all that is around it: access control
// lists, and directories on the way that are closed to some.
//
// Permission bits know three classes, and the kernel looks at the first that fits. So where the image told apart what
// is one class here (users that a list names, members of a directory's group), the class gets what all of them had. The
// owner is left alone: who owns a file has had the chance to open it.

internal import DiskIO
internal import Glibc
internal import Images

/// The owner and the permissions of an exposed file.
struct Owner: Equatable {
  let user: uid_t
  let group: gid_t
  let permissions: mode_t

  /// Who mounts.
  struct Caller {
    var user: uid_t
    var group: gid_t

    /// The user of this process.
    static var current: Caller { Caller(user: geteuid(), group: getegid()) }
  }

  /// For root, the image's own owner and permissions, so that the kernel's check lets in whom the image lets in. An
  /// ordinary user's mount belongs to that user, who could read the image; others get no more than everybody gets.
  init(of image: ImageAccess, for caller: Caller = .current, readOnly: Bool) {
    let file = image.file
    var classes = file.classes
    for directory in image.directories {
      let classesThere = directory.classes
      let letsGroupIn = classesThere.group & Self.search != 0
      let letsOthersIn = classesThere.others & Self.search != 0
      // Some of the one group may be members of the other, and the rest are not.
      let isSameGroup = directory.group == file.group
      if !letsGroupIn || !isSameGroup && !letsOthersIn { classes.group = 0 }
      if !letsOthersIn || !isSameGroup && !letsGroupIn { classes.others = 0 }
    }
    if caller.user == 0 {
      user = file.user
      group = file.group
      permissions = file.permissions & 0o700 | classes.group << 3 | classes.others | (readOnly ? 0 : 0o200)
    } else {
      user = caller.user
      group = caller.group
      // The image's own group is among the others then.
      let everybody = classes.group & classes.others
      if group != file.group { classes = (everybody, everybody) }
      permissions = (readOnly ? 0o400 : 0o600) | classes.group << 3 | classes.others
    }
  }

  private static let search: mode_t = 1
}

extension FileAccess {
  /// What all members of its group but the owner may do at least, and all who are neither.
  fileprivate var classes: (group: mode_t, others: mode_t) {
    guard let list else { return (permissions >> 3 & 7, permissions & 7) }
    let group = list.users.reduce(list.group, &)
    return (group, list.groups.reduce(list.others & list.users.reduce(7, &), &))
  }
}
