// A running cowmount.

internal import CSoak
internal import Glibc
internal import SystemPackage

final class Server {
  let mountpoint: String
  /// The writable file.
  let file: String
  /// The directory that has the overlay.
  let overlays: String
  let pid: pid_t
  /// What it says.
  let log: String
  private let child: Child?

  /// Mounts.
  ///
  /// - Parameters:
  ///   - image: the base.
  ///   - options: of the command.
  ///   - mountpoint: a new directory where nil.
  ///   - overlays: the overlay directory; a new one where nil; none is named where it is empty.
  ///   - group: a cgroup to run in.
  ///   - detached: as users run it, in the background.
  init(
    _ stage: Stage, image: String, options: [String] = [], mountpoint: String? = nil, overlays: String? = nil,
    group: String? = nil, detached: Bool = false
  ) throws {
    self.mountpoint = try mountpoint ?? stage.directory("mnt")
    self.overlays = try overlays ?? stage.directory("overlay")
    log = try stage.directory("log") + "/log"
    let place = self.mountpoint
    var words = group.map { ["sh", "-euc", #"echo $$ > "$0/cgroup.procs"; exec "$@""#, $0] } ?? []
    // It is in the mount table before it is ready: until then a file may show no size, and a signal is an interruption.
    let ready = log + ".pid"
    words += [stage.cowmount] + (detached ? [] : ["--foreground", "--pid-file", ready]) + options
    words += self.overlays.isEmpty ? [] : ["--overlay-dir", self.overlays]
    let before = Set(stage.keepers())
    let child = try Child(words + [image, place], output: log)
    let log = log
    if detached {
      guard let status = child.wait(seconds: 10) else { throw Failure("cowmount hung\n\(Stacks.of(child.pid))") }
      guard status == 0 else { throw Failure("cowmount failed: \(readText(log) ?? "")") }
      guard let pid = stage.keepers().first(where: { !before.contains($0) }) else { throw Failure("no process serves") }
      self.pid = pid
      self.child = nil
    } else {
      let isReady = eventually(10) { child.poll() != nil || access(ready, F_OK) == 0 }
      guard isReady, child.poll() == nil else {
        child.end()
        throw Failure("cowmount \(options) did not mount: \(readText(log) ?? "")")
      }
      pid = child.pid
      self.child = child
    }
    var status = stat()
    stat(place, &status)
    file = status.st_mode & S_IFMT == S_IFREG ? place : "\(place)/\(image.split(separator: "/").last ?? "")"
  }

  /// What there can be at a mountpoint.
  enum MountState {
    case none, alive, dead
    /// Its server is ending, and the kernel has not noticed yet.
    case dying
  }

  /// What there is at a mountpoint at this moment.
  static func state(of mountpoint: String) -> MountState {
    switch csoak_is_fuse(mountpoint) {
    case 1: .alive
    case 0: .none
    default: errno == ENOTCONN ? .dead : .dying
    }
  }

  /// What there is at a mountpoint whose server was killed.
  static func stateAfterKill(of mountpoint: String) -> MountState {
    _ = eventually(5) { [.none, .dead].contains(state(of: mountpoint)) }
    return state(of: mountpoint)
  }

  var isAlive: Bool {
    if let child { return child.poll() == nil }
    guard let line = readText("/proc/\(pid)/stat"), let end = line.lastIndex(of: ")") else { return false }
    let state = line[line.index(end, offsetBy: 2)...].first
    return state != "Z" && state != "X"
  }

  func signal(_ number: CInt) { kill(pid, number) }

  /// The process that serves, and has no rights.
  var serving: pid_t { child("cowmount-serve") ?? pid }

  /// The process that takes the mount down.
  var guardian: pid_t { child("cowmount-guard") ?? pid }

  private func child(_ name: String) -> pid_t? {
    let children = (readText("/proc/\(pid)/task/\(pid)/children") ?? "").split(separator: " ").compactMap { pid_t($0) }
    return children.first { readText("/proc/\($0)/comm") == name + "\n" }
  }

  /// Kills all processes of the mount at once, so that nobody is left to clean up.
  func killAll() {
    let family = [guardian, pid, serving]
    for process in family { kill(process, SIGSTOP) }
    for process in family { kill(process, SIGKILL) }
  }

  /// Waits until it is gone, with its mount and its overlay. That can take a while where the file system below discards
  /// each piece of a large overlay on the disk.
  func expectGone(within seconds: Double, mount expectsNoMount: Bool = true) throws {
    guard eventually(seconds, { !isAlive }) else {
      throw Failure("cowmount \(pid) did not end within \(seconds) s\n\(Stacks.of(pid))")
    }
    if let status = child?.poll(), expectsNoMount, status != 0 {
      throw Failure("cowmount ended with status \(status): \(readText(log) ?? "")")
    }
    if expectsNoMount, MountEntry.at(mountpoint)?.type == "fuse.cowmount" { throw Failure("it is still mounted") }
    let left = overlays.isEmpty ? [] : entries(overlays)
    if !left.isEmpty { throw Failure("files were left in the overlay directory: \(left)") }
  }

  /// Unmounts, as a user does.
  func unmount() throws {
    // Somebody may be about to close the file.
    let isUnmounted = eventually(10) { umount2(mountpoint, 0) == 0 }
    if !isUnmounted { throw Failure("it cannot be unmounted: \(Errno(rawValue: errno))") }
    try expectGone(within: 60)
  }

  // MARK: What it takes

  var descriptors: Int { entries("/proc/\(serving)/fd").count }

  /// A line of /proc/PID/status that is in KiB.
  func kibibytes(_ key: String) -> Int {
    let line = (readText("/proc/\(serving)/status") ?? "").split(separator: "\n").first { $0.hasPrefix("\(key):") }
    return line?.split { $0 == " " || $0 == "\t" }.dropFirst().first.flatMap { Int($0) } ?? -1
  }

  /// Bytes of the overlay file.
  var overlaySpace: Int {
    for descriptor in entries("/proc/\(serving)/fd") {
      let path = "/proc/\(serving)/fd/\(descriptor)"
      var status = stat()
      guard let target = realTarget(path), target.hasSuffix("(deleted)"), stat(path, &status) == 0 else { continue }
      return Int(status.st_blocks) * 512
    }
    return 0
  }

  private func realTarget(_ link: String) -> String? {
    var target = [CChar](repeating: 0, count: 4096)
    let count = readlink(link, &target, target.count)
    return count > 0 ? String(decoding: target.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
  }
}
