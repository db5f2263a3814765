#define _GNU_SOURCE
#include "CSoak.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <unistd.h>

const int csoak_o_direct = O_DIRECT;
const int csoak_seek_data = SEEK_DATA;
const int csoak_seek_hole = SEEK_HOLE;
const int csoak_falloc_keep_size = FALLOC_FL_KEEP_SIZE;
const int csoak_falloc_punch_hole = FALLOC_FL_PUNCH_HOLE;
const int csoak_falloc_zero_range = FALLOC_FL_ZERO_RANGE;

int csoak_fallocate(int fd, int mode, int64_t offset, int64_t count) { return fallocate(fd, mode, offset, count); }

int csoak_is_fuse(const char *path) {
  struct statfs space;
  if (statfs(path, &space) == -1) return -1;
  return space.f_type == FUSE_SUPER_MAGIC;
}

void csoak_die_with_parent(void) { prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); }
