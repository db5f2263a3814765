// The system calls that each role may make. What is not here is EPERM, so that a library that can do without goes on; the
// calling conventions of other architectures are the end of the process. (Filter.c makes the kernel's filter of it.)
#define _GNU_SOURCE
#include "Filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

enum {
  SERVER = 1 << CLINUX_ROLE_SERVER,
  NBD = 1 << CLINUX_ROLE_NBD_CLIENT,
  NETWORK = 1 << CLINUX_ROLE_NETWORK_CLIENT,
  DISK = 1 << CLINUX_ROLE_DISK_READER,
  SERVING = SERVER | NBD | NETWORK,
  // Those that are a client of something.
  CLIENTS = NBD | NETWORK,
  // Those that load libraries, and so open files and execute what is in them.
  LOADING = NETWORK | DISK,
  ALL = SERVING | DISK,
};

// Conditions of a call: those up to one that ends must hold together, or those up to the next.
#define AND(argument_, mask_, value_) {.argument = argument_, .mask = mask_, .value = value_}
#define ALSO(argument_, mask_, value_) {.argument = argument_, .mask = mask_, .value = value_, .ends = 1}
#define IS(argument_, value_) ALSO(argument_, ~0u, value_)
#define CONDITIONS(name, ...) \
  static const struct condition name##_tests[] = {__VA_ARGS__}; \
  static const struct conditions name = {.tests = name##_tests, .count = sizeof name##_tests / sizeof *name##_tests}

#define NAMESPACES \
  (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
CONDITIONS(a_thread, ALSO(0, CLONE_THREAD | NAMESPACES, CLONE_THREAD));

// Threads of its own. Baked in is the process that is confined, which stays the same over execve(2).
CONDITIONS(own_process, {.argument = 0, .mask = ~0u, .is_own_process = 1, .ends = 1});
CONDITIONS(own_limits_unchanged, AND(0, ~0u, 0), AND(2, ~0u, 0), {.argument = 2, .is_high = 1, .mask = ~0u, .ends = 1});
CONDITIONS(own_priority, AND(0, ~0u, PRIO_PROCESS), IS(1, 0));
CONDITIONS(own_disk_priority, AND(0, ~0u, IOPRIO_WHO_PROCESS), IS(1, 0));

CONDITIONS(no_code, ALSO(2, PROT_EXEC, 0));
// Or a library, which is in a file and stays as it is there.
CONDITIONS(no_code_but_of_files, ALSO(2, PROT_EXEC, 0), AND(2, PROT_WRITE, 0), ALSO(3, MAP_ANONYMOUS, 0));

#define MAKES_OR_WRITES (O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY))
CONDITIONS(only_reads_at, ALSO(2, MAKES_OR_WRITES, O_RDONLY));
// /dev/null, since that is what Landlock lets through.
CONDITIONS(makes_none_at, ALSO(2, MAKES_OR_WRITES, O_RDONLY), ALSO(2, MAKES_OR_WRITES, O_RDWR));
#if defined(__x86_64__)
CONDITIONS(only_reads, ALSO(1, MAKES_OR_WRITES, O_RDONLY));
CONDITIONS(makes_none, ALSO(1, MAKES_OR_WRITES, O_RDONLY), ALSO(1, MAKES_OR_WRITES, O_RDWR));
#endif

CONDITIONS(local_socket, IS(0, AF_UNIX));
// The resolver asks the kernel what addresses this machine has, to sort those that it found.
CONDITIONS(network_socket, IS(0, AF_UNIX), IS(0, AF_INET), IS(0, AF_INET6), IS(0, AF_VSOCK), AND(0, ~0u, AF_NETLINK),
           IS(2, 0));

CONDITIONS(descriptor_flags_and_locks, IS(1, F_DUPFD), IS(1, F_DUPFD_CLOEXEC), IS(1, F_GETFD), IS(1, F_SETFD),
           IS(1, F_GETFL), IS(1, F_SETFL), IS(1, F_GETLK), IS(1, F_SETLK), IS(1, F_OFD_GETLK), IS(1, F_OFD_SETLK));

CONDITIONS(device_size, IS(1, BLKGETSIZE64));
CONDITIONS(device_size_and_waiting, IS(1, BLKGETSIZE64), IS(1, FIONREAD), IS(1, FIONBIO));
// How reads must be aligned on XFS.
#define XFS_IOC_DIOINFO _IOC(_IOC_READ, 'X', 30, 12)
CONDITIONS(device_shape, IS(1, BLKGETSIZE64), IS(1, FIONREAD), IS(1, FIONBIO), IS(1, TCGETS), IS(1, BLKROGET),
           IS(1, BLKGETSIZE), IS(1, BLKSSZGET), IS(1, BLKBSZGET), IS(1, BLKPBSZGET), IS(1, BLKIOMIN), IS(1, BLKIOOPT),
           IS(1, BLKALIGNOFF), IS(1, BLKROTATIONAL), IS(1, FS_IOC_FIEMAP), IS(1, XFS_IOC_DIOINFO));

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
CONDITIONS(naming, IS(0, PR_SET_NAME), IS(0, PR_GET_NAME), IS(0, PR_SET_VMA));
CONDITIONS(naming_and_timing, IS(0, PR_SET_NAME), IS(0, PR_GET_NAME), IS(0, PR_SET_VMA), IS(0, PR_SET_TIMERSLACK),
           IS(0, PR_GET_TIMERSLACK), IS(0, PR_CAPBSET_READ));

// Those of which each request has some, in the order in which they are looked for.
static const unsigned hot[] = {SYS_read, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_futex};

static const struct entry entries[] = {
    // Bytes.
    {SYS_read, ALL},
    {SYS_write, ALL},
    {SYS_readv, ALL},
    {SYS_writev, ALL},
    {SYS_pread64, ALL},
    {SYS_pwrite64, SERVING},
    {SYS_preadv, ALL},
    {SYS_preadv2, ALL},
    {SYS_pwritev, SERVING},
    {SYS_pwritev2, SERVING},
    {SYS_lseek, ALL},
    {SYS_fallocate, SERVING},
    {SYS_ftruncate, SERVING},
    {SYS_sync_file_range, SERVING},
    {SYS_fadvise64, ALL},
    // Descriptors. The path of newfstatat and statx cannot be seen here: whether a file is there, and its status, can be
    // found out where the user may go. glibc has no other way to ask for an open file.
    {SYS_close, ALL},
    {SYS_close_range, ALL},
    {SYS_dup, ALL},
    {SYS_dup3, ALL},
    {SYS_fcntl, ALL, &descriptor_flags_and_locks},
    {SYS_fstat, ALL},
    {SYS_newfstatat, ALL},
    {SYS_statx, ALL},
    {SYS_fstatfs, ALL},
    {SYS_ioctl, SERVER, &device_size},
    {SYS_ioctl, CLIENTS, &device_size_and_waiting},
    {SYS_ioctl, DISK, &device_shape},
    {SYS_eventfd2, ALL},
    {SYS_ppoll, ALL},
    {SYS_memfd_create, SERVER | NBD},
    // Memory.
    {SYS_mmap, SERVER | NBD, &no_code},
    {SYS_mmap, LOADING, &no_code_but_of_files},
    {SYS_mprotect, ALL, &no_code},
    {SYS_munmap, ALL},
    {SYS_mremap, ALL},
    {SYS_madvise, ALL},
    {SYS_brk, ALL},
    {SYS_membarrier, ALL},
    // Threads. glibc makes them by clone where there is no clone3, whose flags cannot be seen here.
    {SYS_clone, ALL, &a_thread},
    {SYS_clone3, ALL, .error = ENOSYS},
    {SYS_futex, ALL},
    {SYS_set_robust_list, ALL},
    {SYS_rseq, ALL},
    {SYS_set_tid_address, ALL},
    {SYS_sched_yield, ALL},
    {SYS_sched_getaffinity, ALL},
    {SYS_getcpu, ALL},
    {SYS_prctl, SERVING, &naming},
    {SYS_prctl, DISK, &naming_and_timing},
    {SYS_setpriority, SERVING, &own_priority},
    {SYS_ioprio_set, SERVING, &own_disk_priority},
    {SYS_exit, ALL},
    {SYS_exit_group, ALL},
    // Signals.
    {SYS_rt_sigaction, ALL},
    {SYS_rt_sigprocmask, ALL},
    {SYS_rt_sigreturn, ALL},
    {SYS_rt_sigtimedwait, ALL},
    {SYS_sigaltstack, ALL},
    {SYS_restart_syscall, ALL},
    {SYS_tgkill, ALL, &own_process},
    {SYS_signalfd4, DISK},
    // Time, and who and where one is.
    {SYS_clock_gettime, ALL},
    {SYS_clock_getres, ALL},
    {SYS_clock_nanosleep, ALL},
    {SYS_nanosleep, ALL},
    {SYS_gettimeofday, ALL},
    {SYS_getpid, ALL},
    {SYS_getppid, ALL},
    {SYS_gettid, ALL},
    {SYS_getuid, ALL},
    {SYS_geteuid, ALL},
    {SYS_getgid, ALL},
    {SYS_getegid, ALL},
    {SYS_getresuid, LOADING},
    {SYS_getresgid, LOADING},
    {SYS_getrandom, ALL},
    {SYS_getrusage, ALL},
    {SYS_sysinfo, ALL},
    {SYS_uname, ALL},
    {SYS_prlimit64, ALL, &own_limits_unchanged},
    // Sockets, of which a server may inherit some.
    {SYS_sendto, ALL},
    {SYS_sendmsg, ALL},
    {SYS_recvfrom, ALL},
    {SYS_recvmsg, ALL},
    {SYS_shutdown, ALL},
    {SYS_socket, NBD, &local_socket},
    {SYS_socket, NETWORK, &network_socket},
    {SYS_connect, CLIENTS},
    {SYS_getsockopt, CLIENTS | DISK},
    {SYS_setsockopt, CLIENTS | DISK},
    {SYS_getsockname, CLIENTS | DISK},
    {SYS_getpeername, CLIENTS | DISK},
    {SYS_sendmmsg, NETWORK},
    {SYS_recvmmsg, NETWORK},
    // Of a netlink socket; Landlock refuses the TCP ones.
    {SYS_bind, NETWORK},
    {SYS_accept4, DISK},
    // Libraries, and what they read.
    {SYS_openat, NETWORK, &only_reads_at},
    {SYS_openat, DISK, &makes_none_at, .needs_landlock = 1},
    {SYS_openat, DISK, &only_reads_at, .lacks_landlock = 1},
    {SYS_faccessat, LOADING},
    {SYS_faccessat2, LOADING},
    {SYS_readlinkat, LOADING},
    {SYS_getdents64, LOADING},
    {SYS_statfs, LOADING},
    {SYS_getcwd, LOADING},
    {SYS_pselect6, LOADING},
    // A program.
    {SYS_execve, DISK},
    {SYS_chdir, DISK},
    {SYS_epoll_create1, DISK},
    {SYS_epoll_ctl, DISK},
    {SYS_epoll_pwait, DISK},
    {SYS_fdatasync, DISK},
    {SYS_flock, DISK},
    {SYS_sched_getparam, DISK},
    {SYS_sched_getscheduler, DISK},
    {SYS_sched_getattr, DISK},
#if defined(__x86_64__)
    // The same in old ways.
    {SYS_poll, ALL},
    {SYS_dup2, ALL},
    {SYS_time, ALL},
    {SYS_stat, LOADING},
    {SYS_lstat, LOADING},
    {SYS_access, LOADING},
    {SYS_readlink, LOADING},
    {SYS_select, LOADING},
    {SYS_open, NETWORK, &only_reads},
    {SYS_open, DISK, &makes_none, .needs_landlock = 1},
    {SYS_open, DISK, &only_reads, .lacks_landlock = 1},
    {SYS_arch_prctl, DISK},
    {SYS_epoll_wait, DISK},
#endif
};

int confine_calls(enum clinux_role role, int has_landlock) {
  struct entry chosen[sizeof entries / sizeof *entries];
  unsigned count = 0;
  for (unsigned i = 0; i < sizeof entries / sizeof *entries; i++) {
    const struct entry *entry = &entries[i];
    if (!(entry->roles & 1u << role)) continue;
    if (has_landlock ? entry->lacks_landlock : entry->needs_landlock) continue;
    chosen[count++] = *entry;
  }
  return install_filter(chosen, count, hot, sizeof hot / sizeof *hot);
}
