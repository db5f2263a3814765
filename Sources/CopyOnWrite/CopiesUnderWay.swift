// Which blocks are being copied from the base at the moment, so that readers of the same blocks do not ask a slow base
// for them twice. There are no more of them than threads.

internal import Threads

/// Claims on blocks, each held by one thread while it copies them.
final class CopiesUnderWay: @unchecked Sendable {
  // SAFETY: `claims` is touched under `monitor` alone.
  private let monitor = Monitor()
  private var claims: [Claim] = []

  private struct Claim: Equatable {
    let blocks: Range<UInt64>
    let purpose: Purpose
  }

  /// What a copy is made for.
  enum Purpose {
    /// A read that somebody waits for.
    case reading
    /// A read that may come. It waits for others, and others do not wait for it: it may take its time.
    case prefetching
  }

  /// Claims blocks. Whoever claims holds no other claim, no lock of the engine, and ends the claim in any case.
  ///
  /// - Returns: false, after waiting for it, where somebody else had a claim on one of them: they have changed.
  func begin(_ blocks: Range<UInt64>, for purpose: Purpose) -> Bool {
    monitor.withLock {
      let other = claims.first {
        $0.blocks.overlaps(blocks) && (purpose == .prefetching || $0.purpose == .reading)
      }
      if let other {
        while claims.contains(other) { monitor.wait() }
        return false
      }
      claims.append(Claim(blocks: blocks, purpose: purpose))
      return true
    }
  }

  /// Ends a claim.
  func end(_ blocks: Range<UInt64>, for purpose: Purpose) {
    monitor.withLock {
      let claim = Claim(blocks: blocks, purpose: purpose)
      if let index = claims.firstIndex(of: claim) { claims.remove(at: index) }
      monitor.changed()
    }
  }
}
