// What the Glibc module hides from Swift: fallocate(2), constants behind macros, and who waits for whom.
#ifndef CSOAK_H
#define CSOAK_H

#include <stdint.h>

extern const int csoak_o_direct;
extern const int csoak_seek_data;
extern const int csoak_seek_hole;
extern const int csoak_falloc_keep_size;
extern const int csoak_falloc_punch_hole;
extern const int csoak_falloc_zero_range;

// fallocate(2).
int csoak_fallocate(int fd, int mode, int64_t offset, int64_t count);

// Whether what answers at this path, now and from no cache, is a FUSE file system: 1 or 0, or -1 with errno.
int csoak_is_fuse(const char *path);

// Has the kernel kill this process when its parent ends, so that nothing outlives a soak that is killed.
void csoak_die_with_parent(void);

#endif
