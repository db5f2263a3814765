#define _GNU_SOURCE
#include "Children.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

void clinux_stand_apart(const char *name) {
  setsid();
  prctl(PR_SET_NAME, name);
}

void clinux_end_with_parent(int number) { prctl(PR_SET_PDEATHSIG, number); }

int clinux_ignores(int number) {
  struct sigaction action;
  return sigaction(number, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_IGN;
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
