// A running cowmount, seen from outside.

import Glibc
import Synchronization
import Testing

final class Mount: Sendable {
  let image: Image
  /// The directory or file that was given as mountpoint.
  let place: String
  /// The writable file.
  let file: String
  /// The directory that has the overlay.
  let overlays: String
  let daemon: Daemon
  /// Its number in the mount table.
  fileprivate let device: String
  /// A foreground cowmount, until it ends.
  private let foreground: Task<CommandResult, any Error>?
  private let before: Fingerprint
  private let isOver = Atomic(false)

  fileprivate init(
    _ image: Image, before: Fingerprint, place: String, file: String, overlays: String, daemon: Daemon,
    device: String, foreground: Task<CommandResult, any Error>?
  ) {
    self.image = image
    self.before = before
    self.place = place
    self.file = file
    self.overlays = overlays
    self.daemon = daemon
    self.device = device
    self.foreground = foreground
  }

  func open(_ flags: CInt = O_RDWR) throws -> TestFile { try TestFile(file, flags) }

  /// Bytes that the overlay takes.
  func overlaySpace() throws -> Int { try daemon.overlaySpace(in: overlays) }

  /// Unmounts and looks whether everything is gone and the base is what it was.
  func unmount() async throws {
    guard !isOver.load(ordering: .relaxed) else { return }
    let command = Host.isRoot ? ["umount", place] : ["fusermount3", "-u", place]
    var result: CommandResult?
    let isUnmounted = try await eventually(every: .milliseconds(50)) {
      result = try await attempt(command[0], Array(command[1...]), limit: .seconds(20))
      return result?.succeeded ?? false
    }
    if !isUnmounted {
      Issue.record("cannot unmount: \(result.map(\.description) ?? "")")
      kill(daemon.pid, SIGKILL)
      await sandbox.forceUnmount(place)
    }
    try await expectGone()
  }

  /// Sends a signal that ends the mount, and looks whether everything is gone.
  @discardableResult
  func end(with signal: CInt) async throws -> CommandResult? {
    kill(daemon.pid, signal)
    return try await expectGone()
  }

  /// Kills the process without a chance to clean up. The dead mount stays.
  func murder() async throws {
    isOver.store(true, ordering: .relaxed)
    daemon.killAll()
    _ = try await foreground?.value
    // The kernel notices when the last thread is gone.
    let isDead = try await eventually {
      var space = statvfs()
      return statvfs(self.file, &space) == -1 && errno == ENOTCONN
    }
    #expect(isDead, "the mount of a killed process is dead")
    #expect(try entries(overlays) == [], "a killed cowmount leaves no file")
    sandbox.atEnd { [place] in
      if try MountEntry.at(place) != nil { await sandbox.forceUnmount(place) }
    }
  }

  /// After the end: no process, no mount, no file, an untouched base. How a foreground cowmount ended.
  @discardableResult
  func expectGone(status: Int32 = 0) async throws -> CommandResult? {
    let result = try await expectEnd()
    if let result { #expect(result.status == status, "\(result)") }
    #expect(try !MountEntry.all().contains { $0.device == device && $0.mountpoint == place }, "still mounted")
    return result
  }

  /// After the end: no process, no file, an untouched base.
  func expectEnd() async throws -> CommandResult? {
    isOver.store(true, ordering: .relaxed)
    defer { sandbox.remove(connection: device) }
    let family = daemon.family
    let isGone = try await eventually { family.allSatisfy { !$0.isAlive } && !self.daemon.isAlive }
    #expect(isGone, "process \(daemon.pid) still runs")
    if !isGone { kill(daemon.pid, SIGKILL) }
    let result = try await foreground?.value
    #expect(try entries(overlays) == [], "files were left")
    #expect(try await Fingerprint(of: image.path) == before, "the base was changed")
    return result
  }
}

extension Sandbox {
  /// Mounts an image until the test ends.
  ///
  /// - Parameters:
  ///   - options: of the command.
  ///   - place: mountpoint; a new directory where nil.
  ///   - overlays: the overlay directory; a new one where nil.
  ///   - staying: in the foreground.
  ///   - uri: where a server has the image; else it is mounted by its path.
  ///   - command: a server to start for the mount, in place of the image.
  ///   - group: a cgroup to run in.
  func mount(
    _ image: Image, _ options: String..., at place: String? = nil, overlays: String? = nil, staying: Bool = false,
    from uri: String? = nil, by command: [String]? = nil, within group: String? = nil
  ) async throws -> Mount {
    let place = try place ?? directory("mnt")
    let overlays = try overlays ?? directory("overlay")
    let before = try await Fingerprint(of: image.path)
    var name = uri == nil ? image.path.split(separator: "/").last.map(String.init) ?? "" : NbdServer.fileName
    if command != nil { name = "disk.img" }
    if let index = options.firstIndex(of: "--name") { name = options[index + 1] }
    let isFile = try status(place).st_mode & S_IFMT == S_IFREG

    let others = Daemon.find(mentioning: place)
    let source = command == nil ? [uri ?? image.path] : []
    let arguments =
      options + (staying ? ["--foreground"] : []) + ["--overlay-dir", overlays] + source + [place]
      + (command.map { ["["] + $0 + ["]"] } ?? [])
    var foreground: Task<CommandResult, any Error>?
    if staying {
      foreground = Task { try await attempt(Host.cowmount, arguments, limit: .seconds(120)) }
      let isReady = try await eventually { try MountEntry.at(place)?.type == "fuse.cowmount" }
      if !isReady { killDaemons() }
      // It is in the table before it answers; then the process needs a moment to see that it does, and until then a
      // signal would still make it fail to start.
      var space = statvfs()
      statvfs(place, &space)
      try await Task.sleep(for: .milliseconds(100))
    } else {
      let entering = group.map { ["sh", "-euc", #"echo $$ > "$0/cgroup.procs"; exec "$@""#, $0] } ?? []
      let command = entering + [Host.cowmount] + arguments
      let result = try await attempt(command[0], Array(command.dropFirst()))
      guard result.succeeded else { throw CommandFailure(result: result) }
    }
    guard let daemon = Daemon.find(mentioning: place).first(where: { !others.contains($0) }) else {
      throw MissingNeed(description: "no process serves \(place): \(try await foreground?.value.description ?? "")")
    }
    let mount = Mount(
      image, before: before, place: place, file: isFile ? place : "\(place)/\(name)", overlays: overlays,
      daemon: daemon, device: try MountEntry.at(place)?.device ?? "", foreground: foreground)
    add(connection: mount.device)
    atEnd { try await mount.unmount() }
    return mount
  }
}

extension Sandbox {
  /// Mounts an image with its overlay in memory until the test ends.
  func mountInMemory(_ image: Image, _ options: String...) async throws -> (daemon: Daemon, file: String) {
    let place = try directory("mnt")
    let result = try await attempt(Host.cowmount, ["--memory"] + options + [image.path, place])
    guard result.succeeded else { throw CommandFailure(result: result) }
    atEnd { try await run("fusermount3", "-u", place) }
    let daemon = try #require(Daemon.find(mentioning: place).first)
    return (daemon, "\(place)/\(image.path.split(separator: "/").last ?? "")")
  }
}

/// Runs cowmount with arguments that it must refuse: one line that names what is wrong, and nothing left behind.
func expectRefusal(
  _ arguments: [String], naming words: String..., status: Int32? = nil, by program: [String] = [],
  variables: [String: String] = [:], sourceLocation: SourceLocation = #_sourceLocation
) async throws {
  let before = try await listing()
  let command = program + [Host.cowmount] + arguments
  let result = try await attempt(command[0], Array(command[1...]), variables: variables, limit: .seconds(20))
  expectOneLine(result, naming: words, status: status, sourceLocation: sourceLocation)
  #expect(try await eventually { Daemon.processes(mentioning: sandbox.path).isEmpty }, sourceLocation: sourceLocation)
  #expect(try await listing() == before, "files or mounts were left", sourceLocation: sourceLocation)
}

func expectOneLine(
  _ result: CommandResult, naming words: [String], status: Int32? = nil,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  if let status {
    #expect(result.status == status, "\(result)", sourceLocation: sourceLocation)
  } else {
    #expect(result.status > 0 && result.status < 128, "\(result)", sourceLocation: sourceLocation)
  }
  #expect(result.errorLines.count == 1, "one line: \(result)", sourceLocation: sourceLocation)
  #expect(result.errors.hasPrefix("cowmount: "), "\(result)", sourceLocation: sourceLocation)
  #expect(result.output.isEmpty, "\(result)", sourceLocation: sourceLocation)
  for word in words {
    #expect(result.errors.contains(word), "does not name \(word): \(result)", sourceLocation: sourceLocation)
  }
}

/// Everything in the sandbox, mounts included.
private func listing() async throws -> String {
  let mounts = try MountEntry.under(sandbox.path).map { "\($0.type) \($0.mountpoint)\n" }.joined()
  return mounts + (try await attempt("find", [sandbox.path, "-printf", "%p %y %s %m\n"]).output)
}
