// The parts of clinux_confine(). Each returns 0, or -1 with errno, and makes system calls only.
#ifndef CLINUX_CONFINING_H
#define CLINUX_CONFINING_H

#include "Confinement.h"

// Drops the bounding set, supplementary groups, user and group, and all capabilities but those kept, which stay over
// execve(2). (Identity.c)
int confine_bounding_set(uint64_t kept);
int confine_identity(const struct clinux_confinement *confinement);
int confine_capabilities(uint64_t kept);

// The version of Landlock; 0 where the kernel has none, or -1. (Landlock.c)
int landlock_version(void);
// Has the kernel refuse whatever Landlock knows of and the confinement does not allow.
int confine_access(const struct clinux_confinement *confinement, int version);

// Has the kernel refuse all system calls but those that the role needs. (Allowlist.c)
int confine_calls(enum clinux_role role, int has_landlock);

#endif
