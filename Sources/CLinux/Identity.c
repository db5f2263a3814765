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

// The capabilities of this process.
struct capabilities {
  struct __user_cap_header_struct header;
  struct __user_cap_data_struct data[2];
};

static int get(struct capabilities *capabilities) {
  capabilities->header = (struct __user_cap_header_struct){.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  return (int)syscall(SYS_capget, &capabilities->header, capabilities->data);
}

int clinux_may_change_user(void) {
  const uint32_t needed = 1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_KILL | 1u << CAP_SYS_PTRACE;
  struct capabilities own;
  return get(&own) == 0 && (own.data[0].effective & needed) == needed;
}

int confine_bounding_set(uint64_t kept) {
  struct capabilities own;
  if (get(&own) == -1) return -1;
  // None becomes inheritable that is not in the bounding set.
  for (int i = 0; i < 2; i++) own.data[i].inheritable = own.data[i].permitted & (uint32_t)(kept >> (32 * i));
  if (syscall(SYS_capset, &own.header, own.data) == -1) return -1;
  // Without this capability nobody can; then no_new_privs keeps the set from ever mattering.
  if (!(own.data[0].effective & 1u << CAP_SETPCAP)) return 0;
  for (long capability = 0; capability < 64; capability++) {
    if (prctl(PR_CAPBSET_DROP, capability, 0L, 0L, 0L) == 0) continue;
    // Beyond the last one that the kernel knows.
    return errno == EINVAL && capability > 0 ? 0 : -1;
  }
  return 0;
}

static int64_t number(int64_t asked) { return asked == CLINUX_UNUSED_USER ? clinux_unused_user() : asked; }

// Sets real, effective and saved id. 1 where neither the number nor the overflow id means anything in this user namespace.
static int change(long call, int64_t id) {
  if (syscall(call, id, id, id) == 0) return 0;
  if (errno != EINVAL) return -1;
  if (syscall(call, OVERFLOW_USER, OVERFLOW_USER, OVERFLOW_USER) == 0) return 0;
  return errno == EINVAL ? 1 : -1;
}

int confine_identity(const struct clinux_confinement *confinement) {
  // Else no capability outlives the change.
  if (confinement->kept_capabilities && prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L) == -1) return -1;
  if (confinement->group != CLINUX_SAME_USER) {
    int no_groups = syscall(SYS_setgroups, 0, NULL) == 0;
    int error = errno;
    int stays = change(SYS_setresgid, number(confinement->group));
    if (stays == -1) return -1;
    // A namespace that was made without privilege has one group and lets nobody drop any (user_namespaces(7)).
    if (!no_groups && !(stays && error == EPERM)) {
      errno = error;
      return -1;
    }
  }
  if (confinement->user == CLINUX_SAME_USER) return 0;
  return change(SYS_setresuid, number(confinement->user)) == -1 ? -1 : 0;
}

int confine_capabilities(uint64_t kept) {
  struct capabilities own;
  if (get(&own) == -1) return -1;
  for (int i = 0; i < 2; i++) {
    own.data[i].permitted &= (uint32_t)(kept >> (32 * i));
    own.data[i].effective = own.data[i].inheritable = own.data[i].permitted;
  }
  // Ambient ones go with those that are no longer inheritable.
  if (syscall(SYS_capset, &own.header, own.data) == -1) return -1;
  for (long capability = 0; capability < 64; capability++) {
    if (!(own.data[capability / 32].permitted & 1u << capability % 32)) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0L, 0L) == -1) return -1;
  }
  return 0;
}
