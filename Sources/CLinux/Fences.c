#define _GNU_SOURCE
#include "include/Fences.h"

#include <linux/membarrier.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clinux_prepare_fences(void) {
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 ? 0 : -1;
}

void clinux_fence_everywhere(void) {
  // Registered before, it cannot fail; going on without a fence would let two threads in that must not meet.
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0) abort();
}

void clinux_sleep_microseconds(uint32_t microseconds) {
  if (microseconds == 0) {
    sched_yield();
    return;
  }
  struct timespec time = {.tv_sec = microseconds / 1000000, .tv_nsec = (long)(microseconds % 1000000) * 1000};
  ppoll(NULL, 0, &time, NULL);
}
