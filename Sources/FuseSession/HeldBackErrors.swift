// Errors of writes that the kernel had held back. It keeps such an error for whoever closes the file next, but only until
// somebody else waits for write-back of the same file, or closes it (filemap_check_errors in mm/filemap.c): then the writer's
// close(2) says nothing, and programs such as cp(1) look at nothing else. A seek has somebody do both (KernelCache). So the
// error is kept here, too. The kernel asks at a close only where it has none of its own to tell, and then the answer has it.
//
// An error may so be told twice, by fsync(2) and by close(2), but never not at all.

import Glibc
import Synchronization
import SystemPackage

/// What writers have to be told when they close the file.
final class HeldBackErrors: Sendable {
  private let error = Mutex<Errno?>(nil)

  /// A write that the kernel had held back was answered with an error.
  func add(_ error: Errno) {
    self.error.withLock { $0 = error }
  }

  /// A writer closes the file, and the kernel has nothing to tell.
  func take() -> Errno? {
    error.withLock { error in
      defer { error = nil }
      return error
    }
  }

  /// A writer has closed the file: by now somebody was told. It is not for those who come later.
  func forget() { _ = take() }
}
