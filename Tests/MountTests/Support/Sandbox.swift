// A place of its own for each test, and the end of everything that was begun there: what the test mounted, attached or
// started is taken down in reverse order, also where the test failed, and each mount is then looked over for leftovers.

import Glibc
import Synchronization
import Testing

/// All tests that mount. One at a time: they share loop devices, /dev/fuse and two processors, and some measure time.
@Suite(.serialized, .sandboxed, .needs(.fuse)) enum Mounted {}

/// The sandbox of the running test.
var sandbox: Sandbox {
  guard let current = Sandbox.current else { preconditionFailure("only in tests that are .sandboxed") }
  return current
}

final class Sandbox: Sendable {
  @TaskLocal static var current: Sandbox?

  /// A directory that everybody may enter.
  let path: String
  private let cleanups = Mutex<[@Sendable () async throws -> Void]>([])
  private let connections = Mutex<Set<String>>([])
  private let counter = Atomic(0)

  init() throws {
    let parent = Host.resolved(Host.variable("TMPDIR", or: "/var/tmp"))
    var template = Array("\(parent)/cowmount-test.XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else {
      throw MissingNeed(description: "cannot create a directory in \(parent)")
    }
    path = String(cString: made)
    chmod(path, 0o755)
  }

  /// Has `cleanup` called after the test, before what was registered earlier.
  func atEnd(_ cleanup: @escaping @Sendable () async throws -> Void) {
    cleanups.withLock { $0.append(cleanup) }
  }

  func tearDown() async {
    while let cleanup = cleanups.withLock({ $0.popLast() }) {
      do { try await cleanup() } catch { Issue.record(error) }
    }
    killDaemons()
    for entry in ((try? MountEntry.under(path)) ?? []).reversed() {
      Issue.record("\(entry.mountpoint) was still mounted")
      await forceUnmount(entry.mountpoint)
    }
    // One file system: should a mount be left all the same, it is not emptied.
    _ = try? await attempt("rm", ["-rf", "--one-file-system", path])
  }

  /// Kills every cowmount of this test, whatever it hangs in.
  func killDaemons() {
    let daemons = Daemon.processes(mentioning: path)
    for daemon in daemons { kill(daemon.pid, SIGKILL) }
    for _ in 0..<20 where daemons.contains(where: \.isServing) { usleep(100_000) }
    if daemons.contains(where: \.isServing) { abortConnections() }
  }

  /// Notes a mount by its number in the mount table, so that ``killDaemons()`` can end it by force.
  func add(connection: String) { connections.withLock { _ = $0.insert(connection) } }

  /// The mount is gone; its number may come to belong to somebody else.
  func remove(connection: String) { connections.withLock { _ = $0.remove(connection) } }

  /// Ends the FUSE connections of processes that cannot even be killed, because they wait in the kernel for what they
  /// should serve.
  private func abortConnections() {
    let control = path + "/control"
    guard Host.isRoot, mkdir(control, 0o700) == 0 else { return }
    guard Glibc.mount("fusectl", control, "fusectl", 0, nil) == 0 else { return }
    let others = ((try? MountEntry.all()) ?? []).filter { !$0.mountpoint.hasPrefix(path + "/") }
    for connection in connections.withLock({ $0 }) where !others.contains(where: { $0.device == connection }) {
      let number = connection.split(separator: ":").last ?? ""
      print("aborting FUSE connection \(number)")
      _ = try? TestFile("\(control)/\(number)/abort", O_WRONLY).write(Array("1".utf8), at: 0)
    }
    umount2(control, CInt(MNT_DETACH))
  }

  /// Takes a mount away, whoever uses it.
  func forceUnmount(_ place: String) async {
    if umount2(place, CInt(MNT_DETACH)) == -1 { _ = try? await attempt("fusermount3", ["-u", "-z", place]) }
  }

  /// A new empty directory.
  func directory(_ name: String = "dir") throws -> String {
    let number = counter.add(1, ordering: .relaxed).newValue
    let directory = "\(path)/\(name)\(number)"
    try TestFile.check(mkdir(directory, 0o755))
    return directory
  }

  /// A new image, alone in a directory.
  func image(_ name: String = "disk.img", size: Int, data: [Range<Int>]? = nil, mode: mode_t = 0o444) throws -> Image {
    try Image("\(directory("image"))/\(name)", size: size, data: data, mode: mode)
  }

  /// Mounts a file system that is no cowmount, until the test ends.
  func mountOther(_ arguments: String..., at place: String) async throws {
    let result = try await attempt("mount", arguments + [place])
    guard result.succeeded else { throw CommandFailure(result: result) }
    atEnd {
      if try MountEntry.at(place) != nil { try await run("umount", place) }
    }
  }

  /// Attaches a loop device until the test ends.
  func loopDevice(_ file: String, _ options: String...) async throws -> String {
    let result = try await attempt("losetup", options + ["--find", "--show", file])
    guard result.succeeded else { throw CommandFailure(result: result) }
    let device = String(result.output.prefix { $0 != "\n" })
    atEnd { [self] in try await detach(device) }
    return device
  }

  /// Detaches a loop device and waits until it is: its last user may be about to close it.
  func detach(_ device: String) async throws {
    let isDetached = try await eventually {
      if try await attempt("losetup", [device]).succeeded {
        _ = try await attempt("losetup", ["--detach", device])
        return false
      }
      return true
    }
    if !isDetached { throw MissingNeed(description: "\(device) cannot be detached") }
  }
}

struct Sandboxed: TestTrait, SuiteTrait, TestScoping {
  let isRecursive = true

  /// Longest time for one test. Then its mounts are killed, and whatever waits for them fails.
  private static let limit = Duration.seconds(120)

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    let sandbox = try Sandbox()
    try await Sandbox.$current.withValue(sandbox) {
      let deadline = Watchdog.start(Self.limit) {
        print("\(test.name) takes too long: killing its mounts")
        sandbox.killDaemons()
      }
      let result: Result<Void, any Error>
      do { result = .success(try await function()) } catch { result = .failure(error) }
      // A test that cancels itself is cleaned up after all the same.
      await Task { await sandbox.tearDown() }.value
      Watchdog.callOff(deadline)
      try result.get()
    }
  }
}

extension Trait where Self == Sandboxed {
  /// Gives the test, or each test of the suite, a ``Sandbox``.
  static var sandboxed: Self { Self() }
}
