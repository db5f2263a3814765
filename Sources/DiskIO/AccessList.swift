// POSIX access control lists, as far as one has to know them to tell whom a file's permission bits let in: with a list, the
// bits of the group are its mask and not the group's own.

public import Glibc
internal import CLinux
public import SystemPackage

/// What an access control list grants, the mask taken into account: bits 0 to 7 each.
public struct AccessList: Equatable, Sendable {
  /// The file's own group.
  public var group: mode_t
  /// Whoever has no entry.
  public var others: mode_t
  /// Users that it names.
  public var users: [mode_t]
  /// Groups that it names.
  public var groups: [mode_t]

  /// Creates a list.
  public init(group: mode_t, others: mode_t, users: [mode_t] = [], groups: [mode_t] = []) {
    self.group = group
    self.others = others
    self.users = users
    self.groups = groups
  }

  /// Stands for one that cannot be read: nobody but the owner gets in.
  static let closed = AccessList(group: 0, others: 0)

  /// Takes apart what the kernel hands out (linux/posix_acl_xattr.h): a version, and entries of eight bytes; nil where that
  /// is no such list.
  init?(_ bytes: [UInt8]) {
    func number(at place: Int, _ count: Int) -> UInt32 {
      bytes[place..<place + count].reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
    guard bytes.count >= 4, (bytes.count - 4) % 8 == 0, number(at: 0, 4) == 2 else { return nil }
    var (group, others, mask): (mode_t?, mode_t?, mode_t) = (nil, nil, 7)
    (users, groups) = ([], [])
    for place in stride(from: 4, to: bytes.count, by: 8) {
      let permissions = mode_t(number(at: place + 2, 2)) & 7
      switch number(at: place, 2) {
      case 0x01: break
      case 0x02: users.append(permissions)
      case 0x04: group = permissions
      case 0x08: groups.append(permissions)
      case 0x10: mask = permissions
      case 0x20: others = permissions
      default: return nil
      }
    }
    guard let group, let others else { return nil }
    self.group = group & mask
    self.others = others
    users = users.map { $0 & mask }
    groups = groups.map { $0 & mask }
  }

  /// Reads one; nil where there is none.
  private static func read(_ call: (UnsafeMutableRawPointer?, Int) -> Int64) -> AccessList? {
    // An attribute has at most this many bytes (XATTR_SIZE_MAX).
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    do throws(Errno) {
      let count = try retryingInterrupts { bytes.withUnsafeMutableBytes { call($0.baseAddress, $0.count) } }
      return AccessList(Array(bytes[..<Int(count)])) ?? closed
    } catch .noData, .notSupported {
      return nil
    } catch {
      return closed
    }
  }

  /// The list of what is at `path` and is no symbolic link; nil where it has none.
  public static func of(_ path: FilePath) -> AccessList? {
    path.withPlatformString { path in read { clinux_access_list_of(path, $0, $1) } }
  }

  /// The list of an open file; nil where it has none.
  public static func of(_ file: borrowing File) -> AccessList? {
    let descriptor = file.descriptor
    return read { clinux_access_list(descriptor, $0, $1) }
  }
}
