#define _GNU_SOURCE
#include "include/CConfinementProbe.h"

#include <CLinux.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

// What is shared with the child.
struct shared {
  struct probe_report report;
  int answer;
  int32_t answers[];
};

static void *share(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) abort();
  return memory;
}

static void install(struct sock_filter *code, size_t count) {
  struct sock_fprog program = {.len = (unsigned short)count, .filter = code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == -1)
    _exit(1);
}

static void answer_landlock(int error) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  install(code, sizeof code / sizeof *code);
}

static void die_of_flusher(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_IO_FLUSHER, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  install(code, sizeof code / sizeof *code);
}

// In the child.
static void confine(const struct probe_setting *setting, struct probe_report *report) {
  int status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (setting->landlock_error) answer_landlock(setting->landlock_error);
  if (setting->dies_of_flusher) die_of_flusher();
  // One to give up. Only root can take it.
  gid_t group = 1;
  syscall(SYS_setgroups, 1, &group);
  struct clinux_confinement confinement = *setting->confinement;
  if (setting->is_another_user) confinement.user = confinement.group = clinux_unused_user();
  struct clinux_confined confined;
  if (clinux_confine(&confinement, &confined) == -1) {
    report->error = errno;
    strncpy(report->step, confined.failed_step, sizeof report->step - 1);
    _exit(1);
  }
  report->user = confined.user;
  report->group = confined.group;
  report->landlock = confined.landlock;
  if (pread(status, report->status, sizeof report->status - 1, 0) <= 0) _exit(1);
}

static void write_map(pid_t child, const char *file, const char *text) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)child, file);
  int map = open(path, O_WRONLY | O_CLOEXEC);
  if (map == -1 || write(map, text, strlen(text)) == -1) perror(path);
  close(map);
}

// Forks. In the child, which has the user namespace, 0.
static pid_t begin(const struct probe_setting *setting) {
  int made[2], mapped[2];
  if (!setting->map) return fork();
  if (pipe2(made, O_CLOEXEC) == -1 || pipe2(mapped, O_CLOEXEC) == -1) abort();
  char byte = 0;
  pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWUSER) == -1 || write(made[1], &byte, 1) != 1 || read(mapped[0], &byte, 1) != 1) _exit(1);
    return 0;
  }
  close(made[1]);
  if (read(made[0], &byte, 1) == 1) {
    write_map(child, "uid_map", setting->map);
    write_map(child, "gid_map", setting->map);
  }
  if (write(mapped[1], &byte, 1) != 1) abort();
  close(made[0]);
  close(mapped[0]);
  close(mapped[1]);
  return child;
}

static void finish(pid_t child, struct probe_report *report) {
  int status = 0;
  while (waitpid(child, &status, 0) == -1 && errno == EINTR) continue;
  report->end = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) ? -1 : 0;
}

void probe_confine(const struct probe_setting *setting, struct probe_report *report) {
  struct shared *shared = share(sizeof *shared);
  pid_t child = begin(setting);
  if (child == 0) {
    confine(setting, &shared->report);
    _exit(0);
  }
  finish(child, &shared->report);
  *report = shared->report;
  munmap(shared, sizeof *shared);
}

// The last argument of calls that are to be answered, and the answer.
enum { MARK = 0x70726f62, LET_THROUGH = 4000 };

// Of two filters that both answer with an error, the later one's counts; one that allows leaves it to the other.
static void answer_marked(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MARK, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | LET_THROUGH),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  install(code, sizeof code / sizeof *code);
}

void probe_calls(const struct probe_setting *setting, const struct probe_call *calls, size_t count, int32_t *answers,
                 struct probe_report *report) {
  const size_t bytes = sizeof(struct shared) + count * sizeof *answers;
  struct shared *shared = share(bytes);
  for (size_t i = 0; i < count; i++) shared->answers[i] = -1;
  pid_t child = begin(setting);
  if (child == 0) {
    answer_marked();
    confine(setting, &shared->report);
    const uint64_t own = (uint64_t)getpid();
    for (size_t i = 0; i < count; i++) {
      const uint64_t *a = calls[i].arguments;
      // The child's own id is not known before.
      uint64_t first = a[0] == UINT64_MAX - 1 ? own : a[0];
      if (syscall(calls[i].number, first, a[1], a[2], a[3], a[4], (uint64_t)MARK) != -1) break;
      shared->answers[i] = errno == LET_THROUGH ? 0 : errno;
    }
    // A call with fewer arguments leaves the mark in its register.
    syscall(SYS_exit_group, 0, 0, 0, 0, 0, 0);
  }
  finish(child, &shared->report);
  *report = shared->report;
  memcpy(answers, shared->answers, count * sizeof *answers);
  munmap(shared, bytes);
}

void probe_foreign(const struct probe_setting *setting, int kind, int is_confined, struct probe_report *report) {
  struct shared *shared = share(sizeof *shared);
  pid_t child = begin(setting);
  if (child == 0) {
    if (is_confined) confine(setting, &shared->report);
#if defined(__x86_64__)
    if (kind == 0) {
      syscall(0x40000000 + SYS_getpid);
    } else {
      // getpid of i386.
      long result = 20;
      __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
    }
#else
    (void)kind;
    raise(SIGSYS);
#endif
    _exit(0);
  }
  finish(child, &shared->report);
  *report = shared->report;
  munmap(shared, sizeof *shared);
}

static int connect_to(const struct sockaddr *address, socklen_t size) {
  int descriptor = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return descriptor == -1 ? -1 : connect(descriptor, address, size);
}

static int with_local_port(int port, int (*call)(int, const struct sockaddr *, socklen_t)) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  return descriptor == -1 ? -1 : call(descriptor, (const struct sockaddr *)&address, sizeof address);
}

static void *return_at_once(void *nothing) { return nothing; }

// A child that is begun ends at once, and is not waited for: its parent may not.
static int fork_once(void) {
  pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(0);
  return child;
}

static int map(int protection, int then) {
  void *page = mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return -1;
  return then ? mprotect(page, 4096, then) : 0;
}

static int act_on(enum probe_act act, const char *path, int number, pid_t parent) {
  char place[32], word[8] = "";
  snprintf(place, sizeof place, "/proc/self/fd/%d", number);
  struct sockaddr_un local = {.sun_family = AF_UNIX};
  struct iovec here = {.iov_base = word, .iov_len = 1}, there = here;
  char *const arguments[] = {(char *)path, NULL}, *const environment[] = {NULL};
  pthread_t thread;
  switch (act) {
  case PROBE_OPEN_READ: return open(path, O_RDONLY | O_CLOEXEC);
  case PROBE_OPEN_WRITE: return open(path, O_WRONLY | O_CLOEXEC);
  case PROBE_OPEN_READ_WRITE: return open(path, O_RDWR | O_CLOEXEC);
  case PROBE_CREATE: return open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
  case PROBE_CHMOD: return chmod(path, 04755);
  case PROBE_TRUNCATE: return truncate(path, 0);
  case PROBE_UNLINK: return unlink(path);
  case PROBE_OPEN_DESCRIPTOR: return open(place, O_RDONLY | O_CLOEXEC);
  case PROBE_EXECUTE: return execve(path, arguments, environment);
  case PROBE_CONNECT_DESCRIPTOR:
    strcpy(local.sun_path, place);
    return connect_to((const struct sockaddr *)&local, sizeof local);
  case PROBE_CONNECT_ABSTRACT:
    strcpy(local.sun_path + 1, path);
    return connect_to((const struct sockaddr *)&local, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(path));
  case PROBE_CONNECT_TCP: return with_local_port(number, connect);
  case PROBE_BIND_TCP: return with_local_port(number, bind);
  case PROBE_SOCKET: return socket(number, (number == AF_NETLINK ? SOCK_RAW : SOCK_STREAM) | SOCK_CLOEXEC, 0);
  case PROBE_SIGNAL_PARENT: return (int)syscall(SYS_tgkill, parent, parent, 0);
  case PROBE_SIGNAL_SELF: return (int)syscall(SYS_tgkill, getpid(), getpid(), 0);
  case PROBE_NEW_USER_NAMESPACE: return unshare(CLONE_NEWUSER);
  case PROBE_FORK: return fork_once();
  case PROBE_THREAD:
    errno = pthread_create(&thread, NULL, return_at_once, NULL);
    return errno ? -1 : pthread_join(thread, NULL);
  case PROBE_IO_URING: return (int)syscall(SYS_io_uring_setup, 1, NULL);
  case PROBE_MAP_CODE: return map(PROT_READ | PROT_EXEC, 0);
  case PROBE_MAKE_CODE: return map(PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC);
  case PROBE_MAP_MEMORY: return map(PROT_NONE, PROT_READ | PROT_WRITE);
  case PROBE_READ_PARENT: return (int)process_vm_readv(parent, &here, 1, &there, 1, 0);
  }
  errno = EINVAL;
  return -1;
}

int probe_act(const struct probe_setting *setting, enum probe_act act, const char *path, int number) {
  struct shared *shared = share(sizeof *shared);
  shared->answer = -1;
  pid_t parent = getpid();
  pid_t child = begin(setting);
  if (child == 0) {
    confine(setting, &shared->report);
    // A program that is executed says nothing.
    if (act == PROBE_EXECUTE) shared->answer = 0;
    shared->answer = act_on(act, path, number, parent) == -1 ? errno : 0;
    _exit(0);
  }
  finish(child, &shared->report);
  int answer = shared->answer;
  munmap(shared, sizeof *shared);
  return answer;
}
