// Work on several threads at once, real ones, because system calls on a mount block.

import Glibc

/// Runs `body` on that many threads at once, each with a number of its own, and throws the first error that one threw.
///
/// What is found wrong on a thread is to be thrown, not recorded: an issue recorded there belongs to no test.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) throws {
  let jobs = (0..<count).map { number in Job { try body(number) } }
  for job in jobs { job.join() }
  for job in jobs {
    if let error = job.error { throw error }
  }
}

/// Bytes are not what they should be.
struct WrongBytes: Error, CustomStringConvertible {
  let description: String

  /// Throws where a range of a file does not hold `expected`.
  static func check(_ file: TestFile, at offset: Int, holds expected: [UInt8], _ comment: String) throws {
    let found = try file.read(expected.count, at: offset)
    guard found != expected else { return }
    let place = zip(found, expected).enumerated().first { $1.0 != $1.1 }?.offset ?? min(found.count, expected.count)
    throw WrongBytes(description: "byte \(offset + place) is wrong, \(comment)")
  }
}

private final class Job: @unchecked Sendable {
  // SAFETY: `error` is written by the thread and read after it was joined; `thread` is set once in init.
  private var thread = pthread_t()
  private(set) var error: (any Error)?
  private let body: () throws -> Void

  init(_ body: @escaping () throws -> Void) {
    self.body = body
    let created = pthread_create(
      &thread, nil,
      { context in
        guard let context else { return nil }
        let job = Unmanaged<Job>.fromOpaque(context).takeRetainedValue()
        do { try job.body() } catch { job.error = error }
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    precondition(created == 0, "no thread")
  }

  func join() { pthread_join(thread, nil) }
}
