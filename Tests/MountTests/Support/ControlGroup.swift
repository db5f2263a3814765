// Control groups: little memory, few processes.

import Glibc
import Testing

extension Sandbox {
  /// Makes a control group of the hierarchy that this machine has, until the test ends.
  ///
  /// - Parameters:
  ///   - controller: memory, in bytes, or pids.
  ///   - limit: the most of it.
  /// - Returns: its directory; nil where there is no such controller.
  func controlGroup(_ controller: String, limit: Int) throws -> String? {
    let name = "cowmount-test.\(getpid())"
    let files = ["memory": "limit_in_bytes"]
    let groups = [
      ("/sys/fs/cgroup/\(controller)", "\(controller).\(files[controller] ?? "max")"),
      ("/sys/fs/cgroup", "\(controller).max"),
    ]
    for (parent, file) in groups {
      let path = "\(parent)/\(name)"
      guard mkdir(path, 0o755) == 0 else { continue }
      atEnd {
        let isEmpty = try await eventually { rmdir(path) == 0 }
        #expect(isEmpty, "somebody is left in \(path)")
      }
      guard let file = try? TestFile("\(path)/\(file)", O_WRONLY) else { continue }
      try file.write(Array("\(limit)".utf8), at: 0)
      return path
    }
    return nil
  }
}
