// What is left to a confined process: by what the kernel says of it, and by trying.

import CConfinementProbe
import CLinux
import Glibc
import Testing

@Suite struct ConfinementTests {
  @Test(arguments: Role.allCases) func identityAndCapabilities(_ role: Role) {
    let report = Child(role).confine()
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
      #expect(report.status(set) == ["0000000000000000"], "\(set)")
    }
    #expect(report.status("NoNewPrivs") == ["1"])
    #expect(report.status("Seccomp") == ["2"])
    let users = report.status("Uid")
    let groups = report.status("Gid")
    #expect(users.count == 4 && Set(users) == ["\(report.user)"] && Set(groups) == ["\(report.group)"])
    if isRoot {
      #expect(report.status("CapBnd") == ["0000000000000000"])
      #expect(report.user > 2_013_265_920 && report.group == report.user)
      #expect(report.status("Groups") == [])
    } else {
      #expect(report.user == geteuid() && report.group == getegid())
    }
  }

  @Test func everyProcessIsSomebodyElse() {
    #expect(Child(.server).isAnotherUser == isRoot)
    if isRoot { #expect(Child(.server).confine().user != Child(.server).confine().user) }
  }

  /// Kept ones are ambient, so that an executed program has them.
  @Test(.enabled(if: isRoot)) func keptCapability() {
    var child = Child(.diskReader)
    child.capabilities = 1 << UInt64(clinux_cap_dac_read_search)
    let report = child.confine()
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
      #expect(report.status(set) == ["0000000000000004"], "\(set)")
    }
    #expect(report.status("CapBnd") == ["0000000000000000"])
  }

  /// In a container: whoever is nobody there, or, where there is nobody else, the same user, without rights.
  @Test(.enabled(if: isRoot), arguments: [("0 0 65536", UInt32(65534)), ("0 0 1", 0)])
  func userNamespace(map: String, user: UInt32) {
    var child = Child(.server)
    child.map = map
    let report = child.confine()
    #expect(report.user == user && report.group == user)
    #expect(report.status("CapEff") == ["0000000000000000"])
    #expect(report.status("CapBnd") == ["0000000000000000"])
  }

  /// A kernel that is old, or was started without: the rest holds, and the one file that Landlock would guard is closed.
  @Test(arguments: [ENOSYS, EOPNOTSUPP]) func noLandlock(error: CInt) throws {
    var child = Child(.diskReader)
    child.landlockError = error
    let report = child.confine()
    #expect(report.landlock == 0 && report.status("Seccomp") == ["2"])
    #expect(child.act(PROBE_OPEN_READ_WRITE, "/dev/null") == EPERM)
    #expect(child.act(PROBE_OPEN_READ, "/dev/null") == 0)
  }

  /// Reclaim that waits for the process must not make it wait for reclaim: it asks for that, though few may.
  @Test(arguments: Role.allCases) func asksToServeReclaim(_ role: Role) {
    var child = Child(role)
    child.diesOfFlusher = true
    #expect(child.tryToConfine().end == SIGSYS)
  }

  /// What cannot be done and should be is an error.
  @Test func failures() {
    var child = Child(.server)
    child.landlockError = EPERM
    let report = child.tryToConfine()
    #expect(report.end == -1 && report.error == EPERM && report.failedStep == "use Landlock")
    guard !isRoot else { return }
    child = Child(.server)
    child.isAnotherUser = true
    #expect(child.tryToConfine().failedStep == "change user and group")
  }

  // MARK: By trying

  @Test(arguments: Role.allCases) func otherProcesses(_ role: Role) {
    let child = Child(role)
    #expect(child.act(PROBE_SIGNAL_PARENT) == EPERM)
    #expect(child.act(PROBE_READ_PARENT) == EPERM)
    #expect(child.act(PROBE_FORK) == EPERM)
    #expect(child.act(PROBE_NEW_USER_NAMESPACE) == EPERM)
    #expect(child.act(PROBE_IO_URING) == EPERM)
    #expect(child.act(PROBE_SIGNAL_SELF) == 0)
    #expect(child.act(PROBE_THREAD) == 0)
  }

  @Test(arguments: Role.allCases) func memory(_ role: Role) {
    #expect(Child(role).act(PROBE_MAP_CODE) == EPERM)
    #expect(Child(role).act(PROBE_MAKE_CODE) == EPERM)
    #expect(Child(role).act(PROBE_MAP_MEMORY) == 0)
  }

  @Test(arguments: Role.allCases) func files(_ role: Role) throws {
    let directory = try Directory()
    let file = try directory.file()
    let child = Child(role)
    #expect(child.act(PROBE_OPEN_WRITE, file) == EPERM)
    #expect([EPERM, EACCES].contains(child.act(PROBE_OPEN_READ_WRITE, file)))
    #expect(child.act(PROBE_CREATE, file) == EPERM)
    #expect(child.act(PROBE_CHMOD, file) == EPERM)
    #expect(child.act(PROBE_TRUNCATE, file) == EPERM)
    #expect(child.act(PROBE_UNLINK, file) == EPERM)
    let opens = role == .networkClient || role == .diskReader
    let isGuarded = child.confine().landlock > 0
    for path in [file, "/etc/shadow", "/proc/self/maps"] {
      let answer = child.act(PROBE_OPEN_READ, path)
      if !opens { #expect(answer == EPERM, "\(path)") } else if isGuarded { #expect(answer == EACCES, "\(path)") }
    }
    #expect(child.act(PROBE_EXECUTE, "/usr/bin/true") == (role == .diskReader ? 0 : EPERM))
  }

  @Test(arguments: Role.allCases) func sockets(_ role: Role) {
    let domains = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET]
    let opened = domains.filter { Child(role).act(PROBE_SOCKET, "", $0) == 0 }
    let expected: [CInt] =
      switch role {
      case .server, .diskReader: []
      case .nbdClient: [AF_UNIX]
      case .networkClient: [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK]
      }
    #expect(opened == expected)
  }
}
