// One exposure of one base by one contender: its scratch folder, its processes, its mounts, and the way back.

import Glibc
import Subprocess
import SystemPackage

/// A base that is exposed, ready to be worked on.
struct Exposed {
  /// The writable file.
  let file: FilePath
  /// The image below it (the plain file: what it was copied from).
  let base: FilePath
  let stage: Stage
}

/// What is set up for one exposure. Everything is noted before it is made, so that whatever goes wrong in between,
/// `tearDown` leaves nothing: it must be called on every way out, and undoes in the opposite order.
final class Stage {
  let directory: FilePath
  private(set) var servers: [Server] = []
  /// Processes that put themselves into the background, found again by what they were told.
  private(set) var strays: [pid_t] = []
  private var cleanUps: [() async -> Void] = []

  init(directory: FilePath) throws {
    self.directory = directory
    try makeFolder(directory)
  }

  /// Every process that belongs to the exposure.
  var processes: [pid_t] { servers.filter(\.isRunning).map(\.pid) + strays }

  private var log: FilePath { directory.appending("log") }

  func onTearDown(_ cleanUp: @escaping () async -> Void) {
    cleanUps.append(cleanUp)
  }

  /// Starts a server of this exposure.
  func serve(_ name: String, _ arguments: [String], environment: [Environment.Key: String?] = [:]) async throws {
    servers.append(try await Server.start(name, arguments, environment: environment, log: log))
  }

  /// Adopts a process that went into the background by itself: the one whose arguments name this stage's folder.
  func adoptStray() {
    for name in names(in: "/proc") {
      guard let pid = pid_t(name), !servers.contains(where: { $0.pid == pid }) else { continue }
      let arguments = readText(FilePath("/proc/\(pid)/cmdline")) ?? ""
      if arguments.contains(directory.string + "/") { strays.append(pid) }
    }
  }

  /// A fresh folder to mount on, unmounted when the stage goes.
  func mountFolder() throws -> FilePath {
    let folder = directory.appending("mnt")
    try makeFolder(folder)
    unmountsOnTearDown(folder)
    return folder
  }

  /// Notes that something is about to be mounted at `path`.
  func unmountsOnTearDown(_ path: FilePath) {
    onTearDown { await unmount(path) }
  }

  /// Waits until `file` is there at its full size and can be read.
  ///
  /// Asks every 0.2 ms with a sleep that blocks: a timer of the runtime is coarser than what is measured by it.
  func waitUntilReady(_ file: FilePath, size: Int64) async throws {
    try await wait(for: file.string, limit: .seconds(30)) { self.isReadable(file, size: size) }
  }

  /// Waits until something exists at `path`, such as a server's socket.
  func waitUntilExists(_ path: FilePath) async throws {
    try await wait(for: path.string, limit: .seconds(30)) { access(path.string, F_OK) == 0 }
  }

  private func wait(for what: String, limit: Duration, until condition: () -> Bool) async throws {
    let deadline = ContinuousClock.now + limit
    while !condition() {
      if let dead = servers.first(where: { !$0.isRunning }) {
        throw CommandFailed(description: "\(dead.name): \(dead.complaint)")
      }
      guard ContinuousClock.now < deadline else {
        let reason = readText(log)?.firstLine ?? "no word why"
        throw CommandFailed(description: "\(what) is not there after \(limit): \(reason)")
      }
      try Task.checkCancellation()
      usleep(200)
      await Task.yield()
    }
  }

  private func isReadable(_ file: FilePath, size: Int64) -> Bool {
    guard let stat = try? Stat(file), stat.size == size else { return false }
    guard let descriptor = try? FileDescriptor.open(file, .readOnly) else { return false }
    defer { try? descriptor.close() }
    var byte: [UInt8] = [0]
    return (try? byte.withUnsafeMutableBytes { try descriptor.read(fromAbsoluteOffset: 0, into: $0) }) == 1
  }

  /// Unmounts, ends the processes, removes the folder. Never fails; what could not be undone is said aloud.
  func tearDown() async {
    await uncancelled { [self] in
      for cleanUp in cleanUps.reversed() { await cleanUp() }
      cleanUps = []
      for server in servers { await end(server) }
      for pid in strays { await endStray(pid) }
      (servers, strays) = ([], [])
      // Should a mount have stayed, its files are not ours to remove.
      _ = try? await command("rm", ["-rf", "--one-file-system", directory.string])
    }
  }

  /// A server of a mount ends with it. A server behind a socket has to be told.
  private func end(_ server: Server) async {
    if await server.ended(within: .milliseconds(20)) { return }
    server.signal(SIGTERM)
    if await server.ended(within: .seconds(10)) { return }
    server.signal(SIGKILL)
    if await server.ended(within: .seconds(5)) { return }
    note("warning: \(server.name) (pid \(server.pid)) does not end")
  }

  /// Only ever waits: a pid that is not our child's could have become somebody else's, and xmount, once unmounted,
  /// has nothing to stay for.
  private func endStray(_ pid: pid_t) async {
    let gone = await holds(within: .seconds(10)) {
      !(readText(FilePath("/proc/\(pid)/cmdline")) ?? "").contains(self.directory.string + "/")
    }
    if !gone { note("warning: pid \(pid) of \(directory) does not end") }
  }
}

/// Unmounts what is mounted at `path`, if anything: politely for two seconds, then lazily.
func unmount(_ path: FilePath) async {
  while isMounted(path) {
    let gone = await holds(within: .seconds(2)) { umount2(path.string, 0) == 0 || errno == EINVAL }
    if gone { continue }
    note("warning: \(path) is busy, detached")
    if umount2(path.string, CInt(MNT_DETACH)) != 0 { return }
  }
}

func isMounted(_ path: FilePath) -> Bool {
  let mounts = readText("/proc/self/mountinfo") ?? ""
  // mountinfo writes a space, a tab and a backslash in octal; the folders made here have none of them.
  return mounts.split(separator: "\n").contains { line in
    line.split(separator: " ").dropFirst(4).first.map(String.init) == path.string
  }
}
