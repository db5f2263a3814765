// Whose rights a process has. The system calls are made directly: glibc's functions would have all threads of a process
// take part, and what runs here may be the child of a process that had some.
#define _GNU_SOURCE
#include "Confining.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// Above what directory services hand out by default (SSSD: to 2,000,200,000) and outside of what systemd keeps for
// containers and others (to 1,879,048,191; from 2,147,352,576 on). A process id has at most 22 bits. The user database is
// not asked: that could load any library into root's process and wait for a server on the network.
enum { FIRST_UNUSED = 2013265920, OVERFLOW_USER = 65534 };

int64_t clinux_unused_user(void) { return FIRST_UNUSED + (int64_t)getpid(); }

int confine_bounding_set(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) == -1) return -1;
  // Without this capability nobody can; then no_new_privs keeps the set from ever mattering.
  if (!(data[0].effective & 1u << CAP_SETPCAP)) return 0;
  for (long capability = 0; capability < 64; capability++) {
    if (prctl(PR_CAPBSET_DROP, capability, 0L, 0L, 0L) == 0) continue;
    // Beyond the last one that the kernel knows.
    return errno == EINVAL && capability > 0 ? 0 : -1;
  }
  return 0;
}

// Sets real, effective and saved id. 1 where neither the number nor the overflow id means anything in this user namespace.
static int change(long call, int64_t number) {
  if (syscall(call, number, number, number) == 0) return 0;
  if (errno != EINVAL) return -1;
  if (syscall(call, OVERFLOW_USER, OVERFLOW_USER, OVERFLOW_USER) == 0) return 0;
  return errno == EINVAL ? 1 : -1;
}

int confine_identity(const struct clinux_confinement *confinement) {
  // Else no capability outlives the change.
  if (confinement->kept_capabilities && prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L) == -1) return -1;
  if (confinement->group != -1) {
    int no_groups = syscall(SYS_setgroups, 0, NULL) == 0;
    int error = errno;
    int stays = change(SYS_setresgid, confinement->group);
    if (stays == -1) return -1;
    // A namespace that was made without privilege has one group and lets nobody drop any (user_namespaces(7)).
    if (!no_groups && !(stays && error == EPERM)) {
      errno = error;
      return -1;
    }
  }
  if (confinement->user != -1 && change(SYS_setresuid, confinement->user) == -1) return -1;
  return 0;
}

int confine_capabilities(uint64_t kept) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) == -1) return -1;
  for (int i = 0; i < 2; i++) {
    data[i].permitted &= (uint32_t)(kept >> (32 * i));
    data[i].effective = data[i].inheritable = data[i].permitted;
  }
  // Ambient ones go with those that are no longer inheritable.
  if (syscall(SYS_capset, &header, data) == -1) return -1;
  for (long capability = 0; capability < 64; capability++) {
    if (!(data[capability / 32].permitted & 1u << capability % 32)) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0L, 0L) == -1) return -1;
  }
  return 0;
}
