// Touching a shared file mapping, which may fault with SIGBUS. It cannot be written in Swift: a jump out of a signal handler
// must not pass Swift's frames.
#ifndef CLINUX_FAULTGUARD_H
#define CLINUX_FAULTGUARD_H

#include <stddef.h>

// Guarded access to file mappings. clinux_install_fault_guard() must have been called once in the process.
// Each returns 0, or -1 where the mapping faulted (SIGBUS: no space behind a hole, or an I/O error); what was
// written before the fault stays.
void clinux_install_fault_guard(void);
int clinux_copy_guarded(void *destination, const void *source, size_t count);
int clinux_zero_guarded(void *destination, size_t count);

#endif
