#define _GNU_SOURCE
#include "Process.h"

#include <linux/capability.h>
#include <linux/ioprio.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

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

static void advise_whole_pages(void *start, size_t count, int advice) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t first = ((uintptr_t)start + page - 1) / page * page;
  uintptr_t end = ((uintptr_t)start + count) / page * page;
  if (first < end) madvise((void *)first, end - first, advice);
}

// Linux 5.14; before, the pages come at first touch.
void clinux_populate(void *start, size_t count) { advise_whole_pages(start, count, MADV_POPULATE_WRITE); }

void clinux_give_back(void *start, size_t count) { advise_whole_pages(start, count, MADV_DONTNEED); }

size_t clinux_allocation_size(void *allocation) { return malloc_usable_size(allocation); }

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
