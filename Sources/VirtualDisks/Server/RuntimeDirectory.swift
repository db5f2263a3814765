// The user's directory for what lives no longer than a session (XDG Base Directory Specification). Who becomes root may bring
// along the variable, and so the directory, of somebody else.

internal import DiskIO
internal import Glibc
internal import SystemPackage

/// The user's directory for what lives no longer than a session.
public enum RuntimeDirectory {
  /// $XDG_RUNTIME_DIR, where that is a directory of the effective user that nobody else can write to.
  public static var ofUser: String? {
    guard let text = getenv("XDG_RUNTIME_DIR").map({ String(cString: $0) }), text.hasPrefix("/"),
      let status = try? FileStatus(of: FilePath(text), followingLinks: false), status.kind == .directory,
      status.user == geteuid(), status.permissions & 0o022 == 0
    else { return nil }
    return text
  }
}
