// A file system on a loop device on a mount, taken down in any order, some of them foolish: errors are fine, hangs are not.

internal import Glibc

final class Orders {
  private let stage: Stage
  private var random: Randomness

  init(_ stage: Stage, seed: UInt64) {
    self.stage = stage
    random = Randomness(seed: seed)
  }

  private enum Step: CaseIterable {
    case unmountGuest, unmount, detachLoop, end
  }

  func run(_ number: Int) throws {
    guard Child.isInstalled("mkfs.ext4"), Child.isInstalled("losetup") else {
      throw Skip("orders: needs mkfs.ext4 and losetup")
    }
    let image = try stage.directory("image") + "/disk.img"
    try OpenFile(image, O_RDWR | O_CREAT).resize(to: 64 << 20)
    try Self.makeFileSystem(on: image)
    for _ in 0..<number {
      let order = Step.allCases.shuffled(using: &random)
      let signal = random.pick([SIGTERM, SIGKILL])
      let name = order.map { $0 == .end ? "signal \(signal)" : "\($0)" }.joined(separator: ", ")
      do {
        try Watchdog.guarding("the order \(name)", on: stage, seconds: 60) { try takeDown(image, order, signal) }
      } catch {
        throw Failure("\(name): \(error)")
      }
    }
  }

  static func makeFileSystem(on path: String) throws { try mustRun("mkfs.ext4", "-q", "-F", path, limit: 60) }

  private func takeDown(_ image: String, _ order: [Step], _ signal: CInt) throws {
    let server = try Server(stage, image: image)
    let guest = try stage.directory("guest")
    let loop = try LoopDevice(stage, file: server.file, directIO: random.chance(0.5))
    try mustRun("mount", loop.path, guest)
    let script = #"while :; do dd if=/dev/urandom of="$1/f$((i=(i+1)%20))" bs=64k count=8 2>/dev/null || exit 1; done"#
    let writer = try Child(["sh", "-c", "i=0; \(script)", "sh", guest], output: "/dev/null")
    defer { writer.end() }
    usleep(UInt32(random.below(400_000)))
    for step in order {
      switch step {
      // With a writer in it, it cannot go at once.
      case .unmountGuest: try attempt("umount", "--lazy", guest)
      case .unmount: try attempt("umount", "--lazy", server.mountpoint)
      case .detachLoop: try attempt("losetup", "--detach", loop.path)
      case .end: if signal == SIGKILL { server.killAll() } else { server.signal(signal) }
      }
      usleep(UInt32(random.below(50_000)))
    }
    try server.expectGone(within: 15, mount: false)
    writer.end()
    if writer.poll() == nil { throw Failure("the writer hangs\n\(Stacks.of(writer.pid))") }
    umount2(guest, CInt(MNT_DETACH))
    umount2(server.mountpoint, CInt(MNT_DETACH))
    guard eventually(20, { !loop.isAttached }) else { throw Failure("\(loop.path) stays attached") }
  }
}

/// A loop device.
final class LoopDevice {
  let path: String

  init(_ stage: Stage, file: String, directIO: Bool) throws {
    let told = try stage.directory("loop") + "/name"
    let child = try Child(
      ["losetup", "--direct-io=\(directIO ? "on" : "off")", "--find", "--show", file], output: told)
    guard child.wait(seconds: 20) == 0 else {
      child.end()
      throw Failure("losetup: \(readText(told) ?? "")")
    }
    path = String((readText(told) ?? "").prefix { $0 != "\n" })
  }

  var isAttached: Bool {
    let name = path.split(separator: "/").last ?? ""
    return access("/sys/block/\(name)/loop/backing_file", F_OK) == 0
  }

  /// Detaches it and waits until it is.
  func detach() throws {
    try attempt("losetup", "--detach", path)
    guard eventually(20, { !isAttached }) else { throw Failure("\(path) stays attached") }
  }
}
