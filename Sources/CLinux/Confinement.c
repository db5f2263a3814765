// The order in which a process gives up its rights: first what needs rights to be given up, last the system calls for that.
#define _GNU_SOURCE
#include "Confining.h"

#include "CLinux.h"

#include <errno.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>

int clinux_confine(const struct clinux_confinement *confinement, struct clinux_confined *result) {
  *result = (struct clinux_confined){.failed_step = NULL};
#define STEP(words, call) \
  do { \
    if ((call) == -1) { \
      result->failed_step = (words); \
      return -1; \
    } \
  } while (0)
  // Reclaim that waits for this process must not make it wait for reclaim. Not every root may ask for that.
  clinux_set_io_flusher();
  STEP("drop the bounding set of capabilities", confine_bounding_set(confinement->kept_capabilities));
  STEP("change user and group", confine_identity(confinement));
  STEP("drop capabilities", confine_capabilities(confinement->kept_capabilities));
  if (confinement->death_signal) {
    STEP("ask for a signal at the parent's end", prctl(PR_SET_PDEATHSIG, (long)confinement->death_signal, 0L, 0L, 0L));
  }
  STEP("set no_new_privs", prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L));
  STEP("use Landlock", result->landlock = landlock_version());
  if (result->landlock > 0) STEP("use Landlock", confine_access(confinement, result->landlock));
  result->user = geteuid();
  result->group = getegid();
  STEP("filter system calls", confine_calls(confinement->role, result->landlock > 0));
#undef STEP
  return 0;
}
