// A mount with busy users, for ending in every way. They know that their server may go at any moment: an error ends them,
// which is fine; a wrong byte or a hang is not.

internal import Glibc

final class BusyMount {
  let server: Server
  let image: String
  let configuration: Configuration
  private let stage: Stage
  private let control: Control
  private let clients: [Child]

  /// Mounts, and starts the users.
  init(_ stage: Stage, seed: UInt64, image: String? = nil, mountpoint: String? = nil, detached: Bool = false) throws {
    self.stage = stage
    configuration = Configuration(seed: seed)
    if let image {
      self.image = image
    } else {
      self.image = try stage.directory("image") + "/disk.img"
    }
    try configuration.base.write(to: self.image)
    // The rest of the configuration is for users who are not killed.
    let server = try Server(
      stage, image: self.image, options: ["--block-size", "\(configuration.blockSize)"], mountpoint: mountpoint,
      detached: detached)
    let control = try Control(stage.directory("control") + "/numbers")
    control.size = configuration.size
    let seed = configuration.seed
    clients = try (0..<configuration.processes).map { number in
      try Child([
        "/proc/self/exe", "client", "--seed", "\(seed)", "--process", "\(number)", "--file", server.file, "--control",
        control.path, "--expects-death",
      ])
    }
    self.server = server
    self.control = control
  }

  /// Waits until work is being done, and then a moment of that many seconds at most.
  func letWork(atMost seconds: Double, _ random: inout Randomness) {
    _ = eventually(5) { control.operations(owners: configuration.owners) > 10 }
    usleep(UInt32(Double.random(in: 0..<seconds, using: &random) * 1e6))
  }

  /// After the server's end its users must have come to theirs.
  func expectUsersEnd(within seconds: Double) throws {
    defer { for client in clients { client.end() } }
    for client in clients {
      guard let status = client.wait(seconds: seconds) else {
        throw Failure("a user of a mount that is gone hangs\n\(Stacks.of(client.pid))")
      }
      if status != Client.diedStatus { throw Failure("a user of a mount that is gone ended with status \(status)") }
    }
    if control.failures > 0 { throw Failure("a user of a mount read wrong bytes") }
  }
}
