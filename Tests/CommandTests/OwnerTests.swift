// Whom the exposed file lets in, as a table: never more than the image with all that is around it.

import Images
import DiskIO
import Glibc
import Testing

@testable import MountedDisk

@Suite struct OwnerTests {
  /// An image of user 10 and group 20.
  private func image(
    _ permissions: mode_t, _ list: AccessList? = nil, in directories: FileAccess...
  ) -> ImageAccess {
    ImageAccess(
      file: FileAccess(user: 10, group: 20, permissions: permissions, list: list), directories: directories)
  }

  private static func directory(_ permissions: mode_t, group: gid_t = 0, _ list: AccessList? = nil) -> FileAccess {
    FileAccess(user: 0, group: group, permissions: permissions, list: list)
  }

  private func permissions(_ image: ImageAccess, user: uid_t = 0, group: gid_t = 0, readOnly: Bool = false) -> mode_t {
    Owner(of: image, for: Owner.Caller(user: user, group: group), readOnly: readOnly).permissions
  }

  // MARK: Modes

  @Test(
    arguments: [
      (0o444, false, 0o644), (0o444, true, 0o444), (0o600, false, 0o600), (0o400, true, 0o400), (0o640, false, 0o640),
      (0o4755, false, 0o755), (0o064, false, 0o264),
    ] as [(mode_t, Bool, mode_t)])
  func rootsMountHasTheImagesMode(mode: mode_t, readOnly: Bool, expected: mode_t) {
    let owner = Owner(of: image(mode), for: Owner.Caller(user: 0, group: 0), readOnly: readOnly)
    #expect(owner.user == 10 && owner.group == 20)
    #expect(owner.permissions == expected)
  }

  /// The user's own group is another than the image's, or the same.
  @Test(
    arguments: [
      (0o644, 0o644, 0o644), (0o600, 0o600, 0o600), (0o640, 0o600, 0o640), (0o660, 0o600, 0o660),
      (0o664, 0o644, 0o664), (0o666, 0o666, 0o666), (0o444, 0o644, 0o644), (0o040, 0o600, 0o640),
      // The image's group, which may not read it, is among the others.
      (0o604, 0o600, 0o604),
    ] as [(mode_t, mode_t, mode_t)])
  func anOrdinaryUsersMount(mode: mode_t, other: mode_t, same: mode_t) {
    for (group, expected) in [(gid_t(21), other), (20, same)] {
      let owner = Owner(of: image(mode), for: Owner.Caller(user: 11, group: group), readOnly: false)
      #expect(owner.user == 11 && owner.group == group)
      #expect(owner.permissions == expected)
    }
    #expect(permissions(image(mode), user: 11, group: 20, readOnly: true) == same & ~0o200)
  }

  // MARK: Lists

  @Test(
    arguments: [
      // The bits of the group are the mask.
      (0o660, AccessList(group: 0, others: 0, users: [6]), 0o600),
      (0o660, AccessList(group: 4, others: 0, users: [6]), 0o640),
      (0o664, AccessList(group: 6, others: 4, groups: [6]), 0o664),
      // Who is named may be in the group, or among the others, and have less.
      (0o664, AccessList(group: 6, others: 4, users: [0]), 0o600),
      (0o664, AccessList(group: 6, others: 4, users: [6, 4]), 0o644),
      (0o664, AccessList(group: 6, others: 4, groups: [0]), 0o660),
    ] as [(mode_t, AccessList, mode_t)])
  func lists(mode: mode_t, list: AccessList, expected: mode_t) {
    #expect(permissions(image(mode, list)) == expected)
  }

  // MARK: Directories

  @Test(
    arguments: [
      ([directory(0o755)], 0o664),
      ([directory(0o711), directory(0o755)], 0o664),
      ([directory(0o700), directory(0o755)], 0o600),
      ([directory(0o755), directory(0o700)], 0o600),
      // Not searchable for anybody is not the same as not readable.
      ([directory(0o766)], 0o600),
      // Of the image's group nobody knows whether they are in the directory's.
      ([directory(0o750)], 0o600),
      ([directory(0o750, group: 20)], 0o660),
      // Members of the directory's group are kept out.
      ([directory(0o705)], 0o600),
      ([directory(0o705, group: 20)], 0o604),
      ([directory(0o750, group: 20), directory(0o705)], 0o600),
      // With a list, the bits of the group are its mask.
      ([directory(0o750, group: 20, AccessList(group: 0, others: 0, users: [5]))], 0o600),
      ([directory(0o755, AccessList(group: 5, others: 5, users: [0]))], 0o600),
      ([directory(0o755, AccessList(group: 5, others: 5, users: [7], groups: [1]))], 0o664),
    ] as [([FileAccess], mode_t)])
  func directories(_ directories: [FileAccess], expected: mode_t) {
    var image = image(0o664)
    image.directories = directories
    #expect(permissions(image) == expected)
    #expect(permissions(image, user: 11, group: 20) == expected)
  }
}
