// Errors of writes that the kernel had held back. It keeps such an error for whoever closes the file next, but only until
// somebody else waits for write-back of the same file (file_check_and_advance_wb_err in mm/filemap.c): then the writer's
// close(2) says nothing, and programs such as cp(1) look at nothing else. A seek has somebody wait for write-back
// (KernelCache), so from then on the error is owed here, and the answer to the close's flush has it.
//
// An error may so be told twice, as on other network file systems, but never not at all.

import Glibc
import Synchronization
import SystemPackage

/// What writers have to be told when they close the file.
final class HeldBackErrors: Sendable {
  private struct Errors {
    /// The last one that the kernel was told and may still have.
    var told: Errno?
    /// One that the kernel has no more.
    var owed: Errno?
  }

  private let errors = Mutex(Errors())

  /// A write that the kernel had held back was answered with an error.
  func add(_ error: Errno) {
    errors.withLock { $0.told = error }
  }

  /// Somebody waited for write-back, and took what the kernel had.
  func lose() {
    errors.withLock {
      $0.owed = $0.told ?? $0.owed
      $0.told = nil
    }
  }

  /// A writer closes the file; the kernel asks only where it has no error of its own to tell.
  func take() -> Errno? {
    errors.withLock { errors in
      defer { errors = Errors() }
      return errors.owed
    }
  }
}
