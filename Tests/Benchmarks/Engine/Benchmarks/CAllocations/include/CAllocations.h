// Counts what the process allocates, by standing in front of glibc's allocator.
#pragma once

// Allocations of the calling thread since it began: malloc, calloc, realloc and the aligned ones.
unsigned long callocations_count(void);
