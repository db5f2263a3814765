// What is allowed again to those roles that need something: files, sockets, a program.

import CConfinementProbe
import CLinux
import Glibc
import Testing

@Suite struct ReachTests {
  /// Whether the kernel has Landlock of a version, which what is refused here needs.
  private func hasLandlock(_ version: Int) -> Bool { Child(.server).confine().landlock >= version }

  @Test func namedFiles() throws {
    let directory = try Directory()
    let (file, other) = (try directory.file(), try directory.file("other"))
    for role in [Role.networkClient, .diskReader] {
      var child = Child(role)
      child.readable = ["/nonexistent/file", file]
      #expect(child.act(PROBE_OPEN_READ, file) == 0)
      #expect(child.act(PROBE_OPEN_READ_WRITE, file) == (role == .diskReader ? EACCES : EPERM))
      if hasLandlock(1) { #expect(child.act(PROBE_OPEN_READ, other) == EACCES) }
      child.readable = [directory.path]
      #expect(child.act(PROBE_OPEN_READ, other) == 0)
    }
  }

  /// A disk's reader opens its image again by the descriptor, and no other that it may have.
  @Test func descriptor() throws {
    let directory = try Directory()
    let (file, other) = (try directory.file(), try directory.file("other"))
    var child = Child(.diskReader)
    child.descriptor = open(file, O_RDONLY | O_CLOEXEC)
    let another = open(other, O_RDONLY | O_CLOEXEC)
    defer { for descriptor in [child.descriptor, another] { close(descriptor) } }
    #expect(child.act(PROBE_OPEN_DESCRIPTOR, "", child.descriptor) == 0)
    #expect(child.act(PROBE_OPEN_READ, file) == 0)
    if hasLandlock(1) { #expect(child.act(PROBE_OPEN_DESCRIPTOR, "", another) == EACCES) }
  }

  @Test func everything() throws {
    let directory = try Directory()
    let file = try directory.file()
    var child = Child(.diskReader)
    child.readsEverything = true
    #expect(child.act(PROBE_OPEN_READ, file) == 0)
    #expect([EACCES, EPERM].contains(child.act(PROBE_OPEN_READ_WRITE, file)))
    // Only what is a program.
    _ = chmod(file, 0o777)
    if hasLandlock(1) { #expect(child.act(PROBE_EXECUTE, file) == EACCES) }
    guard isRoot else { return }
    let closed = try directory.file("other", mode: 0)
    #expect(child.act(PROBE_OPEN_READ, closed) == EACCES)
    child.capabilities = 1 << UInt64(clinux_cap_dac_read_search)
    #expect(child.act(PROBE_OPEN_READ, closed) == 0)
  }

  @Test func programAndNullDevice() throws {
    let directory = try Directory()
    let file = try directory.file(mode: 0o755)
    var child = Child(.diskReader)
    #expect(child.act(PROBE_OPEN_READ_WRITE, "/dev/null") == (hasLandlock(1) ? 0 : EPERM))
    if hasLandlock(1) { #expect(child.act(PROBE_EXECUTE, file) == EACCES) }
    child.program = file
    #expect(child.act(PROBE_EXECUTE, file) == ENOEXEC)
  }

  /// The resolver's files, and libraries.
  @Test func networkClient() {
    let child = Child(.networkClient)
    for path in ["/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/ld.so.cache", "/usr/lib"] {
      if access(path, R_OK) == 0 { #expect(child.act(PROBE_OPEN_READ, path) == 0, "\(path)") }
    }
  }

  // MARK: Sockets

  /// A listener that its owner alone may connect to is closed to another user.
  @Test func placeOfASocket() throws {
    let directory = try Directory()
    let path = directory.path + "/socket"
    let listener = try listen(at: path)
    let place = open(path, clinux_o_path | O_CLOEXEC)
    defer { for descriptor in [listener, place] { close(descriptor) } }
    for role in [Role.nbdClient, .networkClient] {
      _ = chmod(path, 0o666)
      #expect(Child(role).act(PROBE_CONNECT_DESCRIPTOR, "", place) == 0)
      _ = chmod(path, 0o600)
      if isRoot { #expect(Child(role).act(PROBE_CONNECT_DESCRIPTOR, "", place) == EACCES) }
    }
  }

  @Test func abstractSockets() throws {
    let name = "cowmount-test-\(getpid())"
    let listener = try listen(at: "\0" + name)
    defer { close(listener) }
    for role in [Role.nbdClient, .networkClient] where hasLandlock(6) {
      #expect(Child(role).act(PROBE_CONNECT_ABSTRACT, name) == EPERM)
    }
  }

  @Test func ports() {
    var child = Child(.networkClient)
    // Nobody listens on either.
    #expect(child.act(PROBE_CONNECT_TCP, "", 9) == ECONNREFUSED)
    child.port = 11
    #expect(child.act(PROBE_CONNECT_TCP, "", 11) == ECONNREFUSED)
    guard hasLandlock(4) else { return }
    #expect(child.act(PROBE_CONNECT_TCP, "", 9) == EACCES)
    #expect(child.act(PROBE_BIND_TCP, "", 0) == EACCES)
    #expect(child.act(PROBE_BIND_TCP, "", 20_011) == EACCES)
  }

  private func listen(at path: String) throws -> CInt {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    let size = socklen_t(2 + path.utf8.count)
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
    }
    try #require(result == 0 && Glibc.listen(descriptor, 4) == 0)
    return descriptor
  }
}
