// What this machine offers, and what becomes of a test when it offers less: the test is skipped with a line that says
// why and is counted, or, where COWMOUNT_REQUIRE_MOUNTS=1, fails.
//
// The binary under test is $COWMOUNT, else `cowmount` beside the test bundle in the build folder.

import Glibc
import Synchronization
import Testing

enum Host {
  static let isRoot = geteuid() == 0

  static let programs = variable("PATH", or: "/usr/bin:/bin") + ":/usr/sbin:/sbin"

  /// The absolute path of a program, or nil.
  static func find(_ program: String) -> String? {
    if program.contains("/") { return access(program, X_OK) == 0 ? program : nil }
    return programs.split(separator: ":").map { "\($0)/\(program)" }.first { access($0, X_OK) == 0 }
  }

  static func variable(_ name: String, or otherwise: String = "") -> String {
    getenv(name).map { String(cString: $0) } ?? otherwise
  }

  static let cowmount: String = {
    let named = variable("COWMOUNT")
    if !named.isEmpty { return resolved(named) }
    let bundle = resolved("/proc/self/exe")
    return String(bundle[..<(bundle.lastIndex(of: "/") ?? bundle.endIndex)]) + "/cowmount"
  }()

  /// The path without symbolic links; the path itself where it leads nowhere.
  static func resolved(_ path: String) -> String {
    guard let resolved = realpath(path, nil) else { return path }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  static let mustNotSkip = variable("COWMOUNT_REQUIRE_MOUNTS") == "1"
}

/// Something that a test cannot do without.
enum Need: Sendable, CustomStringConvertible {
  /// A FUSE device that we may use.
  case fuse
  /// Loop devices, mounts, other users.
  case root
  case program(String)
  /// A file system that the kernel knows or can load.
  case fileSystem(String)

  var description: String {
    switch self {
    case .fuse: "/dev/fuse"
    case .root: "root"
    case .program(let name): name
    case .fileSystem(let type): "\(type) in the kernel"
    }
  }

  var isMet: Bool {
    switch self {
    case .fuse: canOpenFuse && (Host.isRoot || Host.find("fusermount3") != nil)
    case .root: Host.isRoot
    case .program(let name): Host.find(name) != nil
    case .fileSystem(let type): knows(type)
    }
  }

  private var canOpenFuse: Bool {
    let device = open("/dev/fuse", O_RDWR | O_CLOEXEC)
    if device >= 0 { close(device) }
    return device >= 0
  }

  private func knows(_ type: String) -> Bool {
    let known = (try? readText("/proc/filesystems")) ?? ""
    // A module is loaded by the mount that needs it.
    return known.split(separator: "\n").contains { $0.hasSuffix("\t\(type)") }
      || Host.find("modprobe") != nil && Host.isRoot && system("modprobe -q \(type) 2>/dev/null") == 0
  }
}

/// A test that may not be skipped lacks something.
struct MissingNeed: Error, CustomStringConvertible {
  let description: String
}

enum Skips {
  static let count = Atomic(0)

  /// Whether a test with these needs runs. Counts what does not; the sum is told when the process ends.
  static func allow(_ needs: [Need]) throws -> Bool {
    // Without it there is nothing to test, and that is no fault of the machine.
    guard Host.find(Host.cowmount) != nil else {
      throw MissingNeed(description: "no \(Host.cowmount); build it, or name another with COWMOUNT")
    }
    let missing = needs.filter { !$0.isMet }
    if missing.isEmpty { return true }
    if Host.mustNotSkip { throw MissingNeed(description: "needs \(missing), and may not be skipped") }
    addOne()
    return false
  }

  /// Ends the running test because this machine has not what only the test itself can find out. That is nothing that can
  /// be installed or asked for, so it is never a failure.
  static func skipRest(_ reason: Comment, sourceLocation: SourceLocation = #_sourceLocation) throws -> Never {
    print("➜ skipped at \(sourceLocation): \(reason)")
    addOne()
    try Test.cancel(reason, sourceLocation: sourceLocation)
  }

  private static func addOne() {
    if count.add(1, ordering: .relaxed).oldValue == 0 {
      atexit { print("Mount tests skipped: \(Skips.count.load(ordering: .relaxed))") }
    }
  }
}

/// Skips the test, or each test of the suite, where something is missing.
struct NeedsTrait: TestTrait, SuiteTrait {
  let needs: [Need]
  let isRecursive = true

  func prepare(for test: Test) async throws {
    // A suite is no test: what is skipped is told and counted test by test.
    guard !test.isSuite, try !Skips.allow(needs) else { return }
    let list = needs.map(\.description).joined(separator: ", ")
    try await ConditionTrait.disabled("needs \(list)").prepare(for: test)
  }
}

extension Trait where Self == NeedsTrait {
  static func needs(_ needs: Need...) -> Self { Self(needs: needs) }
}
