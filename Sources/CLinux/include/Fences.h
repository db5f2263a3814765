// Memory fences that one thread pays for instead of all (membarrier(2)), and short waits.
#ifndef CLINUX_FENCES_H
#define CLINUX_FENCES_H

#include <stdint.h>

// Tells the kernel that this process will ask for fences. 0, or -1 where it has none to give.
int clinux_prepare_fences(void);

// Has every running thread of this process execute a full fence. Only after clinux_prepare_fences() has returned 0.
void clinux_fence_everywhere(void);

// Keeps the compiler, and nobody else, from moving loads and stores across.
static inline void clinux_compiler_fence(void) { __asm__ volatile("" ::: "memory"); }

// Lets other threads run for this long; 0: only those that wait for the processor.
void clinux_sleep_microseconds(uint32_t microseconds);

#endif
