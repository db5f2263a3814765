// SIGTERM and its like while files are open and requests under way: it ends within seconds, its users get errors; a second
// signal does not wait for what is stuck.

internal import Glibc

final class Signals {
  private let stage: Stage
  private var random: Randomness

  init(_ stage: Stage, seed: UInt64) {
    self.stage = stage
    random = Randomness(seed: seed)
  }

  func run(_ number: Int) throws {
    for _ in 0..<number {
      try Watchdog.guarding("a signal while busy", on: stage, seconds: 30) { try endWhileBusy() }
    }
    try Watchdog.guarding("a signal while a file is held open", on: stage, seconds: 30) { try endWhileHeldOpen() }
    try Watchdog.guarding("two signals while stuck", on: stage, seconds: 30) { try endWhileStuck() }
  }

  private func endWhileBusy() throws {
    let mount = try BusyMount(stage, seed: random.next(), detached: random.chance(0.5))
    mount.letWork(atMost: 0.3, &random)
    let signal = random.pick([SIGTERM, SIGINT, SIGHUP])
    switch random.below(4) {
    case 0:
      // Nobody sees the mount any more, but its users have it.
      umount2(mount.server.mountpoint, CInt(MNT_DETACH))
      usleep(UInt32(random.below(20_000)))
      mount.server.signal(signal)
    case 1:
      mount.server.signal(signal)
      usleep(UInt32(random.below(20_000)))
      mount.server.signal(SIGTERM)
    case 2:
      mount.server.signal(signal)
      umount2(mount.server.mountpoint, CInt(MNT_DETACH))
    default:
      mount.server.signal(signal)
    }
    try mount.server.expectGone(within: 20)
    try mount.expectUsersEnd(within: 5)
    unlink(mount.image)
  }

  /// Nobody asks for anything, so nothing wakes those who serve but the end itself.
  private func endWhileHeldOpen() throws {
    let image = try stage.directory("image") + "/disk.img"
    try OpenFile(image, O_RDWR | O_CREAT).resize(to: 1 << 20)
    let server = try Server(stage, image: image)
    let ready = try stage.directory("ready") + "/ready"
    let holder = try Child(["sh", "-c", #"exec 9<"$1"; : >"$2"; exec sleep 60"#, "sh", server.file, ready])
    defer { holder.end() }
    guard eventually(5, { access(ready, F_OK) == 0 }) else { throw Failure("the file cannot be opened") }
    server.signal(SIGTERM)
    try server.expectGone(within: 5)
    unlink(image)
  }

  /// Its image lies in another mount whose server is stopped, so its reads do not end.
  private func endWhileStuck() throws {
    let image = try stage.directory("image") + "/disk.img"
    let layout = BaseLayout(seed: random.next(), size: 4 << 20, random: &random)
    try layout.write(to: image)
    let below = try Server(stage, image: image)
    // The first close asks the server below, later ones do not; a process must be able to end while that one is stopped.
    try withExtendedLifetime(OpenFile(below.file, O_RDONLY)) {}
    let above = try Server(stage, image: below.file)
    kill(below.serving, SIGSTOP)
    let reader = try Child(["head", "-c", "100000", above.file], output: "/dev/null")
    defer { reader.end() }
    usleep(300_000)
    above.signal(SIGTERM)
    usleep(500_000)
    above.signal(SIGTERM)
    guard reader.wait(seconds: 5) != nil else { throw Failure("the reader hangs\n\(Stacks.of(reader.pid))") }
    if MountEntry.at(above.mountpoint) != nil { throw Failure("it is still mounted") }
    // A thread of its own may be stuck in the kernel for as long as its image is.
    kill(below.serving, SIGCONT)
    try above.expectGone(within: 5)
    try below.unmount()
    unlink(image)
  }
}
