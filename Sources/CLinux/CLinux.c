#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/ioprio.h>
#include <linux/magic.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/types.h>
#include <syslog.h>
#include <ucontext.h>
#include <unistd.h>

const int clinux_o_tmpfile = O_TMPFILE;
const int clinux_o_noatime = O_NOATIME;
const int clinux_o_direct = O_DIRECT;
const long clinux_utime_omit = UTIME_OMIT;
const int clinux_falloc_keep_size = FALLOC_FL_KEEP_SIZE;
const int clinux_falloc_punch_hole = FALLOC_FL_PUNCH_HOLE;
const int clinux_falloc_zero_range = FALLOC_FL_ZERO_RANGE;
const int clinux_seek_data = SEEK_DATA;
const int clinux_seek_hole = SEEK_HOLE;

int clinux_unlinked_temporary(const char *template) {
  char path[4096];
  if (strlen(template) >= sizeof path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(path, template);
  int fd = mkostemp(path, O_CLOEXEC);
  if (fd != -1) unlink(path);
  return fd;
}

int clinux_fallocate(int fd, int mode, int64_t offset, int64_t count) { return fallocate(fd, mode, offset, count); }

int clinux_block_device_size(int fd, uint64_t *bytes) { return ioctl(fd, BLKGETSIZE64, bytes); }

#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0x2000U
#endif

int clinux_direct_alignment(int fd, uint32_t *alignment) {
  // By place, for C libraries older than the kernel: stx_dio_mem_align and stx_dio_offset_align.
  union {
    uint32_t words[64];
    uint64_t aligned;
  } status = {0};
  if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == -1) return -1;
  if (!(status.words[0] & STATX_DIOALIGN)) {
    errno = ENOSYS;
    return -1;
  }
  uint32_t memory = status.words[0x98 / 4], offset = status.words[0x9c / 4];
  *alignment = offset == 0 ? 0 : memory > offset ? memory : offset;
  return 0;
}

int clinux_set_nocow(int fd) {
  int flags;
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == -1) return -1;
  flags |= FS_NOCOW_FL;
  return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

int clinux_stores_allocate(int fd) {
  struct statfs status;
  return fstatfs(fd, &status) == 0 && (status.f_type == EXT4_SUPER_MAGIC || status.f_type == XFS_SUPER_MAGIC);
}

int clinux_write_back(int fd) {
  const unsigned all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  return sync_file_range(fd, 0, 0, all);
}

int clinux_ofd_lock_shared(int fd, int64_t byte) {
  struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
  return fcntl(fd, F_OFD_SETLK, &lock);
}

int clinux_ofd_is_locked(int fd, int64_t byte) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
  if (fcntl(fd, F_OFD_GETLK, &lock) == -1) return -1;
  return lock.l_type != F_UNLCK;
}

int clinux_is_automount(int fd) {
  struct statfs status;
  return fstatfs(fd, &status) == 0 && status.f_type == AUTOFS_SUPER_MAGIC;
}

int clinux_write_back_range(int fd, int64_t start, int64_t count) {
  const unsigned all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  if (sync_file_range(fd, start, count, all) == 0 || errno == EIO || errno == ENOSPC || errno == EDQUOT) return 0;
  return -1;
}

uint64_t clinux_device_number(unsigned major, unsigned minor) { return makedev(major, minor); }

void clinux_close_from(int first) { syscall(SYS_close_range, first, ~0u, 0); }

const int clinux_cap_dac_read_search = CAP_DAC_READ_SEARCH;

int clinux_keep_capabilities(uint64_t kept) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) == -1) return -1;
  for (int i = 0; i < 2; i++) {
    uint32_t mask = (uint32_t)(kept >> (32 * i));
    data[i].permitted &= mask;
    data[i].effective &= mask;
    data[i].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, data) == -1) return -1;
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int clinux_set_io_flusher(void) { return prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0); }

void clinux_enter_background(const char *name) {
  prctl(PR_SET_NAME, name);
  // Not SCHED_IDLE: such a thread may stand still for seconds, and with it who waits for a lock that it holds.
  setpriority(PRIO_PROCESS, 0, 19);
  syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
}

void clinux_populate(void *start, size_t count) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t first = ((uintptr_t)start + page - 1) / page * page;
  uintptr_t end = ((uintptr_t)start + count) / page * page;
  // Linux 5.14; before, the pages come at first touch.
  if (first < end) madvise((void *)first, end - first, MADV_POPULATE_WRITE);
}

size_t clinux_allocation_size(void *allocation) { return malloc_usable_size(allocation); }

int clinux_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

// Set for as long as this thread is inside a guarded access, else NULL. Volatile: the handler runs between any two
// instructions of the access. The access itself is not volatile: fences keep it between the two changes. The linkage is
// initial-exec, which a signal handler may touch.
static _Thread_local sigjmp_buf *volatile guard __attribute__((tls_model("initial-exec")));

static void on_sigbus(int signal_number, siginfo_t *info, void *context) {
  (void)info;
  if (guard) {
    // The jump restores no signal mask, and what blocked more than SA_NODEFER says (sanitizers do) must not stay.
    pthread_sigmask(SIG_SETMASK, &((ucontext_t *)context)->uc_sigmask, NULL);
    siglongjmp(*guard, 1);
  }
  // Not ours: die as if no handler had been here.
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

void clinux_install_fault_guard(void) {
  // SA_NODEFER: the handler is left by a jump.
  struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, NULL);
}

int clinux_copy_guarded(void *destination, const void *source, size_t count) {
  sigjmp_buf here;
  if (sigsetjmp(here, 0)) {
    guard = NULL;
    return -1;
  }
  guard = &here;
  atomic_signal_fence(memory_order_seq_cst);
  memcpy(destination, source, count);
  atomic_signal_fence(memory_order_seq_cst);
  guard = NULL;
  return 0;
}

int clinux_zero_guarded(void *destination, size_t count) {
  sigjmp_buf here;
  if (sigsetjmp(here, 0)) {
    guard = NULL;
    return -1;
  }
  guard = &here;
  atomic_signal_fence(memory_order_seq_cst);
  memset(destination, 0, count);
  atomic_signal_fence(memory_order_seq_cst);
  guard = NULL;
  return 0;
}

int clinux_event(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

void clinux_keep_alive(int socket) {
  int on = 1, idle = 30, pause = 10, tries = 3;
  if (setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle) == -1) return;
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &pause, sizeof pause);
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof tries);
  setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

static _Thread_local void *thread_pointer;
void *clinux_thread_pointer(void) { return thread_pointer; }
void clinux_set_thread_pointer(void *pointer) { thread_pointer = pointer; }

void clinux_syslog_open(const char *identity) { openlog(identity, LOG_PID, LOG_DAEMON); }
void clinux_syslog(int priority, const char *text) { syslog(priority, "%s", text); }
