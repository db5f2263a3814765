#include "include/CConfinementProbe.h"

#include <string.h>
#include <sys/syscall.h>

#define CALL(name) {#name, SYS_##name}
static const struct {
  const char *name;
  int64_t number;
} calls[] = {
    CALL(accept4), CALL(bind), CALL(brk), CALL(chdir), CALL(clock_getres), CALL(clock_gettime), CALL(clock_nanosleep), CALL(clone),
    CALL(clone3), CALL(close), CALL(close_range), CALL(connect), CALL(dup), CALL(dup3), CALL(epoll_create1),
    CALL(epoll_ctl), CALL(epoll_pwait), CALL(eventfd2), CALL(execve), CALL(exit), CALL(exit_group), CALL(faccessat),
    CALL(faccessat2), CALL(fadvise64), CALL(fallocate), CALL(fcntl), CALL(fdatasync), CALL(flock), CALL(fstat),
    CALL(fstatfs), CALL(ftruncate), CALL(futex), CALL(getcpu), CALL(getcwd), CALL(getdents64), CALL(getegid),
    CALL(geteuid), CALL(getgid), CALL(getpeername), CALL(getpid), CALL(getppid), CALL(getrandom), CALL(getresgid),
    CALL(getresuid), CALL(getrusage), CALL(getsockname), CALL(getsockopt), CALL(gettid), CALL(gettimeofday),
    CALL(getuid), CALL(ioctl), CALL(ioprio_set), CALL(lseek), CALL(madvise), CALL(membarrier), CALL(memfd_create),
    CALL(mmap), CALL(mprotect), CALL(mremap), CALL(munmap), CALL(nanosleep), CALL(newfstatat), CALL(openat),
    CALL(ppoll), CALL(prctl), CALL(pread64), CALL(preadv), CALL(preadv2), CALL(prlimit64), CALL(pselect6),
    CALL(pwrite64), CALL(pwritev), CALL(pwritev2), CALL(read), CALL(readlinkat), CALL(readv), CALL(recvfrom),
    CALL(recvmmsg), CALL(recvmsg), CALL(restart_syscall), CALL(rseq), CALL(rt_sigaction), CALL(rt_sigprocmask),
    CALL(rt_sigreturn), CALL(rt_sigtimedwait), CALL(sched_getaffinity), CALL(sched_getattr), CALL(sched_getparam),
    CALL(sched_getscheduler), CALL(sched_yield), CALL(sendmmsg), CALL(sendmsg), CALL(sendto), CALL(set_robust_list),
    CALL(set_tid_address), CALL(setpriority), CALL(setsockopt), CALL(shutdown), CALL(sigaltstack), CALL(signalfd4),
    CALL(socket), CALL(statfs), CALL(statx), CALL(sync_file_range), CALL(sysinfo), CALL(tgkill), CALL(uname),
    CALL(write), CALL(writev),
#if defined(__x86_64__)
    CALL(access), CALL(arch_prctl), CALL(dup2), CALL(epoll_wait), CALL(lstat), CALL(open), CALL(poll), CALL(readlink),
    CALL(select), CALL(stat), CALL(time),
#endif
};

int64_t probe_number(const char *name) {
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    if (strcmp(calls[i].name, name) == 0) return calls[i].number;
  }
  return -1;
}
