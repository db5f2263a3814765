// Every system call of the kernel, by its number: whether each role's filter lets it through. The lists here are written by
// hand, and say the same as the filter's in other words. No call is made.

import CConfinementProbe
import CLinux
import Glibc
import Testing

@Suite struct AllowlistTests {
  /// Calls that every role may make, whatever their arguments.
  private static let everybody = """
    read write readv writev pread64 preadv preadv2 lseek fadvise64
    close close_range dup dup3 fstat newfstatat statx fstatfs eventfd2 ppoll
    munmap mremap madvise brk membarrier
    futex set_robust_list rseq set_tid_address sched_yield sched_getaffinity getcpu exit exit_group
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait sigaltstack restart_syscall
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday
    getpid getppid gettid getuid geteuid getgid getegid getrandom getrusage sysinfo uname
    sendto sendmsg recvfrom recvmsg shutdown
    """
  private static let everybodyOfOld = "poll dup2 time"
  private static let serving = "pwrite64 pwritev pwritev2 fallocate ftruncate sync_file_range"
  private static let client = "connect getsockopt setsockopt getsockname getpeername"
  private static let loading =
    "getresuid getresgid faccessat faccessat2 readlinkat getdents64 statfs getcwd pselect6"
  private static let loadingOfOld = "stat lstat access readlink select"

  private static func allowed(_ role: Role) -> String {
    let serving = "\(everybody) \(everybodyOfOld) \(serving)"
    return switch role {
    case .server: "\(serving) memfd_create"
    case .nbdClient: "\(serving) memfd_create \(client)"
    case .networkClient: "\(serving) \(client) \(loading) \(loadingOfOld) sendmmsg recvmmsg bind"
    case .diskReader:
      """
      \(everybody) \(everybodyOfOld) \(loading) \(loadingOfOld) getsockopt setsockopt getsockname getpeername accept4 \
      signalfd4 execve chdir epoll_create1 epoll_ctl epoll_pwait epoll_wait arch_prctl fdatasync flock sched_getparam \
      sched_getscheduler sched_getattr
      """
    }
  }

  private static func numbers(_ names: String) -> Set<Int64> {
    Set(names.split { $0 == " " || $0 == "\n" }.map { probe_number(String($0)) }.filter { $0 != -1 })
  }

  private static let all = UInt64.max

  /// By number alone: with arguments that meet no condition.
  @Test(arguments: Role.allCases) func everyNumber(_ role: Role) {
    // The kernel's own trampolines of probes, which no filter is asked about (x86_64).
    let unfiltered: Set<Int64> = [335, 336]
    let numbers = (Array(Int64(0)...1023) + [4095, 0x3fff_ffff]).filter { !unfiltered.contains($0) }
    let all = Self.all
    let calls = numbers.map { probe_call(number: $0, arguments: (all, all, all, all, all)) }
    let answers = Child(role).answers(to: calls)
    let expected = Self.numbers(Self.allowed(role))
    #expect(expected.count >= 65)
    for (number, answer) in zip(numbers, answers) {
      let error =
        if expected.contains(number) { Int32(0) } else if number == probe_number("clone3") { ENOSYS } else { EPERM }
      #expect(answer == error, "system call \(number)")
    }
  }

  // MARK: By their arguments

  /// Arguments, of which the first may be this.
  private static let ownProcess = -2

  private struct Case {
    let name: String
    let arguments: [UInt64]
    let roles: Set<Role>

    init(_ name: String, _ arguments: [Int], _ roles: Set<Role>) {
      self.name = name
      self.arguments = arguments.map { UInt64(bitPattern: Int64($0)) }
      self.roles = roles
    }
  }

  private static let everyRole = Set(Role.allCases)
  private static let servers: Set<Role> = [.server, .nbdClient, .networkClient]
  private static let clients: Set<Role> = [.nbdClient, .networkClient]
  private static let loaders: Set<Role> = [.networkClient, .diskReader]
  private static let reader: Set<Role> = [.diskReader]
  private static let nobody: Set<Role> = []

  private static let threadFlags = 0x3d0f00
  private static let blockSize64 = 0x8008_1272

  private static let memory: [Case] = [
    Case("mmap", [0, 4096, 0, 0], everyRole),
    Case("mmap", [0, 4096, 3, 0x22], everyRole),
    Case("mmap", [0, 4096, 5, 2], loaders),
    Case("mmap", [0, 4096, 5, 0x22], nobody),
    Case("mmap", [0, 4096, 7, 2], nobody),
    Case("mprotect", [0, 4096, 3], everyRole),
    Case("mprotect", [0, 4096, 5], nobody),
  ]

  private static let threads: [Case] =
    [
      Case("clone", [threadFlags], everyRole),
      Case("clone", [Int(SIGCHLD)], nobody),
      Case("clone", [0x4100 | Int(SIGCHLD)], nobody),
      // A new name space of each kind: mount, cgroup, uts, ipc, user, pid, network.
      Case("clone", [0x20000 | threadFlags], nobody),
    ]
    + [0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000].map {
      Case("clone", [threadFlags | $0], nobody)
    } + [
      Case("tgkill", [ownProcess, 1, 9], everyRole),
      Case("tgkill", [1, 1, 9], nobody),
      // Names, of a thread and of memory.
      Case("prctl", [15, 0], everyRole),
      Case("prctl", [16, 0], everyRole),
      Case("prctl", [0x5356_4d41, 0], everyRole),
      // How exact its timers are, and what capabilities there are.
      Case("prctl", [29, 0], reader),
      Case("prctl", [30, 0], reader),
      Case("prctl", [23, 0], reader),
      // Dumpable, seccomp, who may trace it, ambient capabilities.
      Case("prctl", [4, 1], nobody),
      Case("prctl", [22, 2], nobody),
      Case("prctl", [0x5961_6d61, 1], nobody),
      Case("prctl", [47, 1], nobody),
      Case("setpriority", [0, 0, 19], servers),
      Case("setpriority", [0, 1, 19], nobody),
      Case("setpriority", [2, 0, 19], nobody),
      Case("ioprio_set", [1, 0, 0], servers),
      Case("ioprio_set", [1, 1, 0], nobody),
      Case("ioprio_set", [3, 0, 0], nobody),
      Case("prlimit64", [0, 7, 0, 1], everyRole),
      Case("prlimit64", [0, 7, 1, 0], nobody),
      Case("prlimit64", [0, 7, 1 << 32, 0], nobody),
      Case("prlimit64", [1, 7, 0, 1], nobody),
    ]

  private static let control: [Case] =
    [
      Case("ioctl", [3, blockSize64], everyRole),
      Case("ioctl", [3, 0x541b], clients.union(reader)),
      Case("ioctl", [3, 0x5421], clients.union(reader)),
      // What QEMU asks devices for.
      Case("ioctl", [3, 0x5401], reader),
      Case("ioctl", [3, 0x1268], reader),
      Case("ioctl", [3, 0xc020_660b], reader),
      // TIOCSTI, FS_IOC_SETFLAGS, FUSE_DEV_IOC_CLONE, FITHAW, BLKDISCARD.
      Case("ioctl", [0, 0x5412], nobody),
      Case("ioctl", [3, 0x4008_6602], nobody),
      Case("ioctl", [3, 0x8004_e500], nobody),
      Case("ioctl", [3, 0xc004_5878], nobody),
      Case("ioctl", [3, 0x1277], nobody),
    ]
    // Duplicates, flags, locks.
    + [F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, 36, 37, 1030].map {
      Case("fcntl", [3, Int($0)], everyRole)
    }
    // F_SETOWN, F_SETSIG, F_SETLEASE, F_NOTIFY.
    + [8, 10, 1024, 1026].map { Case("fcntl", [3, $0], nobody) }

  private static let sockets: [Case] = [
    Case("socket", [Int(AF_UNIX), 1, 0], clients),
    Case("socket", [Int(AF_INET), 1, 0], [.networkClient]),
    Case("socket", [Int(AF_INET6), 2, 0], [.networkClient]),
    Case("socket", [Int(AF_VSOCK), 1, 0], [.networkClient]),
    // Routes, and the audit.
    Case("socket", [Int(AF_NETLINK), 3, 0], [.networkClient]),
    Case("socket", [Int(AF_NETLINK), 3, 9], nobody),
    Case("socket", [Int(AF_PACKET), 3, 0], nobody),
    Case("socket", [Int(AF_ALG), 5, 0], nobody),
  ]

  /// As open has them; openat has one more in front.
  private static let files: [Case] = ["open", "openat"].flatMap { name in
    let before = name == "openat" ? [0] : []
    func flags(_ flags: CInt, _ roles: Set<Role>) -> Case {
      Case(name, before + [0, Int(flags)], probe_number(name) == -1 ? nobody : roles)
    }
    // Landlock lets a disk's reader write to one device.
    let isGuarded = Child(.diskReader).confine().landlock > 0
    return [
      flags(O_RDONLY, loaders), flags(O_RDONLY | O_CLOEXEC | O_DIRECTORY, loaders),
      flags(O_RDWR, isGuarded ? reader : nobody), flags(O_WRONLY, nobody), flags(3, nobody),
      flags(O_RDONLY | O_CREAT, nobody), flags(O_RDWR | O_TRUNC, nobody), flags(O_RDONLY | O_TRUNC, nobody),
      flags(O_RDWR | 0o20_200_000, nobody),
    ]
  }

  @Test(arguments: Role.allCases) func arguments(_ role: Role) {
    let cases = (Self.memory + Self.threads + Self.control + Self.sockets + Self.files).filter {
      probe_number($0.name) != -1
    }
    let calls = cases.map {
      let a = $0.arguments + [0, 0, 0, 0, 0]
      return probe_call(number: probe_number($0.name), arguments: (a[0], a[1], a[2], a[3], a[4]))
    }
    for (tried, answer) in zip(cases, Child(role).answers(to: calls)) {
      #expect(answer == (tried.roles.contains(role) ? 0 : EPERM), "\(tried.name)\(tried.arguments)")
    }
  }

  /// As x32 on x86_64, and as i386, where the kernel knows those at all.
  @Test(arguments: Role.allCases) func foreignArchitectures(_ role: Role) {
    #expect(Child(role).foreign(0) == SIGSYS)
    if Child(role).foreign(1, confined: false) == 0 { #expect(Child(role).foreign(1) == SIGSYS) }
  }
}
