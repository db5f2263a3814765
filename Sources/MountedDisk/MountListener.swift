// Who hears of a mount in the process that keeps it: those that the user named to be told (Announcement.swift), or the
// command that the mount is for (RunningCommand.swift).

internal import Glibc
internal import SystemPackage

/// Somebody who hears of a mount. Used by one thread.
protocol MountListener: AnyObject {
  /// The mount answers.
  ///
  /// - Parameter file: where the exposed file is.
  /// - Returns: whether the mount is still wanted.
  func begin(with file: FilePath) throws -> Bool

  /// Takes a signal, which then does not end the mount.
  ///
  /// - Parameter ofTerminal: whether all processes in the foreground of the terminal got it, too.
  func takes(_ signal: CInt, ofTerminal: Bool) -> Bool

  /// Whether the mount is still wanted. Asked when a child of the process has ended.
  var wantsMount: Bool { get }

  /// The mount is about to end, or has ended.
  func prepareToEnd()

  /// The process ends at once.
  ///
  /// - Returns: its exit status.
  func leave() -> CInt
}
