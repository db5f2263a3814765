// Fuzzing: rounds of several processes that do everything at once to one mount, each round with settings of its own.

internal import Glibc
internal import SystemPackage

/// Runs one round.
final class FuzzRound {
  private let stage: Stage
  private let configuration: Configuration
  private var random: Randomness
  private(set) var operations = 0
  private(set) var pauses = 0

  init(_ stage: Stage, seed: UInt64) {
    self.stage = stage
    configuration = Configuration(seed: seed)
    random = Randomness(seed: Randomness.derive(seed, 1 << 40))
  }

  var description: String { "\(configuration)" }

  /// Works for so many seconds, or until so many operations were done.
  func run(seconds: Double, operations limit: Int?) throws {
    let image = try stage.directory("image") + "/disk.img"
    try configuration.base.write(to: image)
    chmod(image, 0o444)
    let full = try fullFileSystem()
    let overlays = try configuration.overlay == .memory ? "" : full ?? stage.directory("overlay")
    var mountpoint: String?
    if configuration.onFile {
      mountpoint = try stage.directory("mnt") + "/disk.img"
      _ = try OpenFile(mountpoint ?? "", O_RDWR | O_CREAT)
    }
    let server = try Server(
      stage, image: image, options: configuration.options, mountpoint: mountpoint, overlays: overlays)
    let control = try Control(stage.directory("control") + "/numbers")
    control.size = configuration.size
    let clients = try (0..<configuration.processes).map { try client($0, server, control) }
    defer { for client in clients { client.end() } }

    let end = now() + seconds
    try Watchdog.guarding("fuzzing", on: stage, seconds: seconds + 60) {
      try supervise(server, clients, control, until: end, limit: limit)
    }
    operations = control.operations(owners: configuration.owners)
    try expectLimits(server)
    try Watchdog.guarding("unmounting", on: stage, seconds: 60) { try server.unmount() }
    try expectQuietLog(server)
    guard try configuration.base.isIntact(at: image) else { throw Failure("the base was changed") }
    unlink(image)
    if let full { umount2(full, 0) }
  }

  private func client(_ number: Int, _ server: Server, _ control: Control) throws -> Child {
    try Child([
      "/proc/self/exe", "client", "--seed", "\(configuration.seed)", "--process", "\(number)", "--file", server.file,
      "--control", control.path,
    ])
  }

  /// A file system with little space, where the configuration wants one.
  private func fullFileSystem() throws -> String? {
    guard case .full(let bytes) = configuration.overlay else { return nil }
    let place = try stage.directory("small")
    guard mount("cowsoak", place, "tmpfs", 0, "size=\(bytes)") == 0 else {
      throw Failure("no tmpfs: \(Errno(rawValue: errno))")
    }
    return place
  }

  // MARK: While they work

  private func supervise(
    _ server: Server, _ clients: [Child], _ control: Control, until end: Double, limit: Int?
  ) throws {
    let file = try OpenFile(server.file)
    var nextPause = now() + 0.3
    while now() < end, control.operations(owners: configuration.owners) < limit ?? .max {
      usleep(2000)
      try expectAlive(server, clients)
      if configuration.hasPauses, now() > nextPause {
        try pause(file, server, clients, control)
        nextPause = now() + Double(random.below(1000)) / 1000
      }
    }
    control.isStopping = true
    for client in clients {
      while client.poll() == nil {
        usleep(2000)
        guard server.isAlive else { throw Failure("cowmount died: \(readText(server.log) ?? "")") }
      }
      guard client.poll() == 0 else { throw Failure("a client failed: status \(client.poll() ?? -1)") }
    }
  }

  private func expectAlive(_ server: Server, _ clients: [Child]) throws {
    guard server.isAlive else { throw Failure("cowmount died: \(readText(server.log) ?? "")") }
    for client in clients {
      if let status = client.poll() { throw Failure("a client failed: status \(status)") }
    }
  }

  /// Changes the size while everybody waits.
  private func pause(_ file: OpenFile, _ server: Server, _ clients: [Child], _ control: Control) throws {
    let wasPaused = try control.pausing(
      configuration.owners, isAborted: { clients.contains { $0.poll() != nil } || !server.isAlive }
    ) {
      let old = control.size
      let least = random.chance(0.7) ? old - random.below(old / 2 + 1) : old
      var size = least
      if random.chance(0.8) { size = min(least + random.below(configuration.size / 2 + 1), 2 * configuration.size) }
      size = max(size, configuration.size / 4)
      if random.chance(0.5) { try tolerating { () throws(Errno) in try file.sync() } }
      let cut = min(least, size)
      if cut < old { try tolerating { () throws(Errno) in try file.resize(to: cut) } }
      if size > cut { try grow(file, to: size) }
      control.cutTo = cut
      control.size = size
      guard try file.size == size else { throw Failure("resized to \(size), but it is \(try file.size)") }
    }
    if wasPaused { pauses += 1 } else { try expectAlive(server, clients) }
  }

  private func grow(_ file: OpenFile, to size: Int) throws {
    switch random.below(configuration.mayFill ? 1 : 3) {
    case 0: try tolerating { () throws(Errno) in try file.resize(to: size) }
    case 1: try file.allocate(.zero, size - 1..<size, keepingSize: false)
    default: try withUnsafeBytes(of: UInt8(0)) { try file.write($0, at: size - 1) }
    }
  }

  /// What was not made safe before the space ran out is told to somebody, once.
  private func tolerating(_ call: () throws(Errno) -> Void) throws {
    for _ in 0..<1000 {
      do { return try call() } catch {
        if !configuration.mayFill || ![.noSpace, .ioError].contains(error) { throw Failure("resizing: \(error)") }
      }
    }
  }

  // MARK: Afterwards

  private func expectLimits(_ server: Server) throws {
    guard case .limited(let limit) = configuration.overlay else { return }
    // File systems have their own bookkeeping.
    let slack = 1 << 20
    if server.overlaySpace > limit + slack { throw Failure("the overlay has \(server.overlaySpace) bytes of \(limit)") }
  }

  private func expectQuietLog(_ server: Server) throws {
    let log = readText(server.log) ?? ""
    let isFine = log.split(separator: "\n").allSatisfy { line in
      configuration.mayFill && (line.contains("No space left") || line.contains("of its space"))
    }
    if !isFine { throw Failure("cowmount complains: \(log)") }
  }
}
