// Threads that run a closure.

public import Glibc
public import SystemPackage

/// Starts a thread that runs `body` and ends.
///
/// - Returns: the thread, which the caller joins or detaches.
/// - Throws: the error of `pthread_create` (`.resourceTemporarilyUnavailable`).
public func startThread(_ body: sending @escaping () -> Void) throws(Errno) -> pthread_t {
  final class Job {
    let body: () -> Void
    init(_ body: sending @escaping () -> Void) { self.body = body }
  }
  let job = Unmanaged.passRetained(Job(body)).toOpaque()
  var thread = pthread_t()
  let error = pthread_create(
    &thread, nil,
    { job in
      if let job { Unmanaged<Job>.fromOpaque(job).takeRetainedValue().body() }
      return nil
    }, job)
  guard error == 0 else {
    Unmanaged<Job>.fromOpaque(job).release()
    throw Errno(rawValue: error)
  }
  return thread
}
