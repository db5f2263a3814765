#define _GNU_SOURCE
#include "Files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

const int clinux_o_tmpfile = O_TMPFILE;
const int clinux_o_noatime = O_NOATIME;
const int clinux_o_direct = O_DIRECT;
const long clinux_utime_omit = UTIME_OMIT;
const int clinux_falloc_keep_size = FALLOC_FL_KEEP_SIZE;
const int clinux_falloc_punch_hole = FALLOC_FL_PUNCH_HOLE;
const int clinux_falloc_zero_range = FALLOC_FL_ZERO_RANGE;
const int clinux_seek_data = SEEK_DATA;
const int clinux_seek_hole = SEEK_HOLE;

int clinux_unlinked_temporary(const char *template) {
  char path[4096];
  if (strlen(template) >= sizeof path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(path, template);
  int fd = mkostemp(path, O_CLOEXEC);
  if (fd != -1) unlink(path);
  return fd;
}

int clinux_fallocate(int fd, int mode, int64_t offset, int64_t count) { return fallocate(fd, mode, offset, count); }

int clinux_block_device_size(int fd, uint64_t *bytes) { return ioctl(fd, BLKGETSIZE64, bytes); }

#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0x2000U
#endif

int clinux_direct_alignment(int fd, uint32_t *alignment) {
  // By place, for C libraries older than the kernel: stx_dio_mem_align and stx_dio_offset_align.
  union {
    uint32_t words[64];
    uint64_t aligned;
  } status = {0};
  if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == -1) return -1;
  if (!(status.words[0] & STATX_DIOALIGN)) {
    errno = ENOSYS;
    return -1;
  }
  uint32_t memory = status.words[0x98 / 4], offset = status.words[0x9c / 4];
  *alignment = offset == 0 ? 0 : memory > offset ? memory : offset;
  return 0;
}

int clinux_set_nocow(int fd) {
  int flags;
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == -1) return -1;
  flags |= FS_NOCOW_FL;
  return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

int clinux_stores_allocate(int fd) {
  struct statfs status;
  return fstatfs(fd, &status) == 0 && (status.f_type == EXT4_SUPER_MAGIC || status.f_type == XFS_SUPER_MAGIC);
}

int clinux_write_back(int fd) {
  const unsigned all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  return sync_file_range(fd, 0, 0, all);
}

int clinux_ofd_lock_shared(int fd, int64_t byte) {
  struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
  return fcntl(fd, F_OFD_SETLK, &lock);
}

int clinux_ofd_is_locked(int fd, int64_t byte) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
  if (fcntl(fd, F_OFD_GETLK, &lock) == -1) return -1;
  return lock.l_type != F_UNLCK;
}

int clinux_is_automount(int fd) {
  struct statfs status;
  return fstatfs(fd, &status) == 0 && status.f_type == AUTOFS_SUPER_MAGIC;
}

int clinux_write_back_range(int fd, int64_t start, int64_t count) {
  const unsigned all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  if (sync_file_range(fd, start, count, all) == 0 || errno == EIO || errno == ENOSPC || errno == EDQUOT) return 0;
  return -1;
}

uint64_t clinux_device_number(unsigned major, unsigned minor) { return makedev(major, minor); }

int clinux_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }
