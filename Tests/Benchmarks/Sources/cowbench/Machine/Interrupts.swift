// Ctrl-C and its like end the run in order: the task is cancelled, and every mount is taken down on the way out.

import ArgumentParser
import Glibc
import Synchronization
import SystemPackage

enum Interrupts {
  /// Runs `body`, cancelling it when SIGINT, SIGTERM or SIGHUP arrives.
  static func cancelling(_ body: @escaping () async throws -> Void) async throws {
    for number in [SIGINT, SIGTERM, SIGHUP] {
      signal(number) { caught.store($0, ordering: .relaxed) }
    }
    let work = Task { try await body() }
    let watch = Task {
      while caught.load(ordering: .relaxed) == 0 { try await Task.sleep(for: .milliseconds(50)) }
      note("interrupted: taking the mounts down")
      work.cancel()
    }
    defer { watch.cancel() }
    do {
      try await work.value
    } catch {
      let number = caught.load(ordering: .relaxed)
      // What a shell expects of a program that a signal ended.
      throw number == 0 ? error : ExitCode(128 + number)
    }
  }
}

/// The signal that arrived. A store to it is all that a signal handler does.
nonisolated private let caught = Atomic<CInt>(0)

/// A line for whoever watches; results go to standard output.
func note(_ text: String) {
  _ = try? FileDescriptor.standardError.writeAll((text + "\n").utf8)
}
