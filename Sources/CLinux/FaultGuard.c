#define _GNU_SOURCE
#include "FaultGuard.h"

#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <ucontext.h>

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
