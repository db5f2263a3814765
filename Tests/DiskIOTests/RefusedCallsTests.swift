// The filter of system calls: it refuses what it is said to, before the call is looked at, and nothing that serving needs.

import CLinux
import DiskIO
import Glibc
import Synchronization
import SystemPackage
import Testing

@Suite struct RefusedCallsTests {
  /// Calls that would fail in another way, or do nothing, if they were made.
  private static let refused: [(name: String, call: @Sendable () -> CInt)] = [
    ("execve", { execl("/nonexistent/program") }),
    ("chroot", { chroot("/nonexistent") }),
    ("mount", { mount("", "/nonexistent", "", 0, nil) }),
  ]

  private static func execl(_ path: String) -> CInt {
    var arguments: [UnsafeMutablePointer<CChar>?] = [nil]
    return execv(path, &arguments)
  }

  /// The filter stays on its thread for good, so that is one of its own.
  private func afterInstalling(_ body: @escaping @Sendable () -> [String: CInt]) -> [String: CInt] {
    final class Job: Sendable {
      let body: @Sendable () -> [String: CInt]
      let result = Mutex<[String: CInt]>([:])
      init(_ body: @escaping @Sendable () -> [String: CInt]) { self.body = body }
    }
    let job = Job(body)
    var thread = pthread_t()
    pthread_create(
      &thread, nil,
      { context in
        guard let context else { return nil }
        let job = Unmanaged<Job>.fromOpaque(context).takeUnretainedValue()
        var result = ["filter": clinux_refuse_calls()]
        result.merge(job.body()) { $1 }
        job.result.withLock { $0 = result }
        return nil
      }, Unmanaged.passUnretained(job).toOpaque())
    pthread_join(thread, nil)
    return job.result.withLock { $0 }
  }

  @Test func refused() {
    let errors = afterInstalling {
      var errors: [String: CInt] = [:]
      for (name, call) in Self.refused { errors[name] = call() == -1 ? errno : 0 }
      return errors
    }
    #expect(errors["filter"] == 0)
    for (name, _) in Self.refused { #expect(errors[name] == EPERM, "\(name)") }
  }

  /// A scratch file, a thread, a process, and for root the end of a mount.
  @Test func allowed() {
    let errors = afterInstalling {
      var errors: [String: CInt] = [:]
      let written: Void? = try? File.scratch(in: scratchDirectory).reserve(0..<4096)
      errors["scratch"] = written == nil ? -1 : 0
      var thread = pthread_t()
      errors["thread"] = pthread_create(&thread, nil, { _ in nil }, nil)
      pthread_join(thread, nil)
      let child = fork()
      if child == 0 { _exit(7) }
      var status: CInt = 0
      waitpid(child, &status, 0)
      errors["process"] = status >> 8
      errors["umount2"] = umount2("/nonexistent", 0) == -1 ? errno : 0
      return errors
    }
    #expect(errors["scratch"] == 0 && errors["thread"] == 0 && errors["process"] == 7)
    if geteuid() == 0 { #expect(errors["umount2"] == ENOENT) }
  }
}
