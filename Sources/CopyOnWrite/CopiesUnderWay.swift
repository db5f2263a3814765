// Which blocks are being copied from the base at the moment, so that readers of the same blocks do not ask a slow base
// for them twice. There are no more of them than threads.

internal import DiskIO

/// Claims on blocks, each held by one thread while it copies them.
final class CopiesUnderWay: @unchecked Sendable {
  // SAFETY: `claims` is touched under `monitor` alone.
  private let monitor = Monitor()
  private var claims: [Range<UInt64>] = []

  /// Claims blocks. Whoever claims holds no other claim, no lock of the engine, and ends the claim in any case.
  ///
  /// - Returns: false, after waiting for it, where somebody else had a claim on one of them: they have changed.
  func begin(_ blocks: Range<UInt64>) -> Bool {
    monitor.withLock {
      if let other = claims.first(where: { $0.overlaps(blocks) }) {
        while claims.contains(other) { monitor.wait() }
        return false
      }
      claims.append(blocks)
      return true
    }
  }

  /// Ends a claim.
  func end(_ blocks: Range<UInt64>) {
    monitor.withLock {
      if let index = claims.firstIndex(of: blocks) { claims.remove(at: index) }
      monitor.changed()
    }
  }
}
