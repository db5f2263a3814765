// A limit on the bytes of the blocks that the overlay holds.

internal import Synchronization
internal import SystemPackage

/// Counts bytes against a limit. Without one it does nothing.
struct SpaceLimit: ~Copyable, Sendable {
  /// Most bytes, or nil for no limit.
  let bytes: UInt64?
  private let taken = Atomic<UInt64>(0)

  init(bytes: UInt64?) {
    self.bytes = bytes
  }

  /// Takes `count` bytes.
  ///
  /// - Throws: `.noSpace` where they are not left; nothing is taken then.
  func take(_ count: UInt64) throws(Errno) {
    guard let bytes else { return }
    // Added first: of several that come for the last bytes, none gets more than there is.
    if taken.add(count, ordering: .relaxed).newValue > bytes {
      taken.subtract(count, ordering: .relaxed)
      throw .noSpace
    }
  }

  /// Gives bytes back that were taken.
  func giveBack(_ count: UInt64) {
    guard bytes != nil else { return }
    taken.subtract(count, ordering: .relaxed)
  }

  /// Bytes that are left.
  var left: UInt64 {
    guard let bytes else { return .max }
    // Somebody who is about to fail may have taken more than there is for a moment.
    return bytes - min(bytes, taken.load(ordering: .relaxed))
  }
}
