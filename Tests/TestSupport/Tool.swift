// The programs that tests let make files, and read what cowmount made.

import Glibc
import SystemPackage

/// Programs on this machine.
package enum Tool {
  private static let path = (getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin") + ":/usr/sbin:/sbin"

  package static func has(_ names: String...) -> Bool {
    names.allSatisfy { name in path.split(separator: ":").contains { access("\($0)/\(name)", X_OK) == 0 } }
  }

  package struct Failure: Error { let script: String, status: CInt }

  /// Runs a script of the shell that must succeed, and returns what it prints.
  @discardableResult
  package static func run(_ script: String) throws -> String {
    guard let pipe = popen("set -eu; export LC_ALL=C PATH='\(path)'; { \(script)\n} 2>/dev/null", "re") else {
      throw Errno(rawValue: errno)
    }
    var output: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while case let count = fread(&buffer, 1, buffer.count, pipe), count > 0 { output += buffer[..<count] }
    let status = pclose(pipe)
    if status != 0 { throw Failure(script: script, status: status) }
    return String(decoding: output, as: UTF8.self)
  }
}
