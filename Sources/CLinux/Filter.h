// A list of system calls, and the conditions of some, as the kernel's filter. (Filter.c)
#ifndef CLINUX_FILTER_H
#define CLINUX_FILTER_H

#include "Confining.h"

// One half of an argument, masked, is a value.
struct condition {
  uint8_t argument;
  // The half that most arguments do not have: an int's is not looked at by the kernel.
  uint8_t is_high;
  // Whether it is the last of those that must hold together.
  uint8_t ends;
  // Whether the value is this process's id.
  uint8_t is_own_process;
  uint32_t mask;
  uint32_t value;
};

struct conditions {
  const struct condition *tests;
  unsigned count;
};

struct entry {
  uint32_t number;
  // Bits numbered by role.
  uint8_t roles;
  // NULL where all that is said is the number.
  const struct conditions *conditions;
  // What the call answers instead of being made; 0 where it is made.
  uint8_t error;
  // Left out where the kernel has no Landlock, or has it.
  uint8_t needs_landlock, lacks_landlock;
};

// Allows these calls alone from now on, to the calling thread and those it starts. `hot` are numbers among them without
// conditions. 0, or -1 with errno.
int install_filter(struct entry *entries, unsigned count, const unsigned *hot, unsigned hot_count);

#endif
