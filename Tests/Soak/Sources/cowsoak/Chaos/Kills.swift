// SIGKILL at any moment: while it starts, while it serves. Where one process is killed, the others leave nothing; where all
// are, nothing is left but a dead mount, which the next cowmount clears.

internal import Glibc

final class Kills {
  private let stage: Stage
  private var random: Randomness

  init(_ stage: Stage, seed: UInt64) {
    self.stage = stage
    random = Randomness(seed: seed)
  }

  func run(_ number: Int) throws {
    // One place for all of them: each clears what the one before left there.
    let mountpoint = try stage.directory("mnt")
    for index in 0..<number {
      try Watchdog.guarding("kill \(index)", on: stage, seconds: 45) {
        if index % 4 == 3 { try killWhileStarting(mountpoint) } else { try killWhileServing(mountpoint) }
        try expectClearable(mountpoint)
      }
    }
  }

  private func killWhileServing(_ mountpoint: String) throws {
    let mount = try BusyMount(stage, seed: random.next(), mountpoint: mountpoint, detached: random.chance(0.5))
    mount.letWork(atMost: 0.3, &random)
    let server = mount.server
    let one = random.pick([nil, server.pid, server.serving, server.guardian])
    if let one { kill(one, SIGKILL) } else { server.killAll() }
    try server.expectGone(within: 20, mount: false)
    try mount.expectUsersEnd(within: 5)
    if one != nil {
      guard eventually(10, { stage.servers().isEmpty }) else { throw Failure("a process is left: \(stage.servers())") }
      guard Server.state(of: mountpoint) == .none else { throw Failure("the mount of a killed process is left") }
    } else {
      let state = Server.stateAfterKill(of: mountpoint)
      guard state == .dead else { throw Failure("the mount of killed processes is \(state)") }
    }
    unlink(mount.image)
  }

  /// The command is several processes by then; the kill takes all.
  private func killWhileStarting(_ mountpoint: String) throws {
    let image = try stage.directory("image") + "/disk.img"
    try OpenFile(image, O_RDWR | O_CREAT).resize(to: 1 << 20)
    let overlays = try stage.directory("overlay")
    let child = try Child([stage.cowmount, "--overlay-dir", overlays, image, mountpoint], output: "/dev/null")
    usleep(UInt32(random.below(8000)))
    for pid in stage.servers() { kill(pid, SIGKILL) }
    child.end()
    guard eventually(5, { stage.servers().isEmpty }) else { throw Failure("a process is left: \(stage.servers())") }
    let left = entries(overlays)
    if !left.isEmpty { throw Failure("files were left in the overlay directory: \(left)") }
  }

  /// A new cowmount clears what was left, shows the image as it is, and can be unmounted.
  private func expectClearable(_ mountpoint: String) throws {
    let state = Server.stateAfterKill(of: mountpoint)
    let layout = BaseLayout(seed: random.next(), size: 200_001, random: &random)
    let image = try stage.directory("image") + "/disk.img"
    try layout.write(to: image)
    let server = try Server(stage, image: image, mountpoint: mountpoint)
    let log = readText(server.log) ?? ""
    guard log.contains("cleared the dead mount") == (state == .dead) else {
      throw Failure("over a mount that was \(state) it says: '\(log)'")
    }
    guard try layout.isIntact(at: server.file) else { throw Failure("the next mount does not show its image") }
    guard MountEntry.all().count(where: { $0.mountpoint == mountpoint }) == 1 else { throw Failure("mounts are left") }
    try server.unmount()
  }
}
