// QEMU's programs, as saving runs them: to their end, with what they have to say in one line.

internal import DiskIO
internal import Glibc
internal import VirtualDisks
internal import SystemPackage

enum QemuProgram {
  /// Runs a program, which inherits what is not close-on-exec.
  ///
  /// - Parameter output: what it is to make, for messages.
  static func run(_ program: String, _ arguments: [String], for output: FilePath) throws(SaveError) {
    guard let said = try? File.scratchInMemory() else { throw .unwritable(output, .current) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, said.descriptor, STDOUT_FILENO)
    posix_spawn_file_actions_adddup2(&actions, said.descriptor, STDERR_FILENO)
    let words = ([program] + arguments).map { $0.withCarriedCString { strdup($0) } } + [nil]
    defer { for word in words { free(word) } }
    var child = pid_t()
    switch posix_spawnp(&child, program, &actions, nil, words, environ) {
    case 0: break
    case ENOENT: throw .noProgram(program)
    case let error: throw .failed(program, words: "\(Errno(rawValue: error))")
    }
    var status: CInt = 0
    while waitpid(child, &status, 0) == -1, errno == EINTR {}
    guard status != 0 else { return }
    var text = [UInt8](repeating: 0, count: 4096)
    let count = pread(said.descriptor, &text, text.count, 0)
    let lines = String(decoding: text.prefix(max(0, count)), as: UTF8.self).split(separator: "\n")
    throw .failed(program, words: lines.last.map { String($0).printable } ?? "it ended with status \(status >> 8)")
  }

  /// Why the program that writes a file could not.
  static func error(_ failure: WritingServer.Failure, for output: FilePath) -> SaveError {
    if failure.isMissing { return .noProgram("qemu-nbd") }
    return switch failure.errno {
    case .noSpace, .diskQuotaExceeded, .fileTooLarge, .ioError: .unwritable(output, failure.errno)
    default: .failed("qemu-nbd", words: failure.words)
    }
  }

  /// Whether a program can be found.
  static func find(_ program: String) throws(SaveError) {
    let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
    let isThere = path.split(separator: ":").contains { directory in
      "\(directory)/\(program)".withCarriedCString { access($0, X_OK) == 0 }
    }
    guard isThere else { throw .noProgram(program) }
  }
}
