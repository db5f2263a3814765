#define _GNU_SOURCE
#include "Children.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

void clinux_stand_apart(const char *name) {
  setsid();
  prctl(PR_SET_NAME, name);
}

void clinux_close_others(const int *kept, int count) {
  unsigned first = 3;
  for (int i = 0; i < count; i++) {
    if (kept[i] < 3) continue;
    if ((unsigned)kept[i] > first) syscall(SYS_close_range, first, (unsigned)kept[i] - 1, 0);
    first = (unsigned)kept[i] + 1;
  }
  syscall(SYS_close_range, first, ~0u, 0);
}
