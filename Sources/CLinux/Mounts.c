// What is asked of a mount, and of those who use it, from outside.
#define _GNU_SOURCE
#include "CLinux.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

// A type that no driver has (Documentation/userspace-api/ioctl/ioctl-number.rst).
const uint32_t clinux_control_command = (uint32_t)_IOWR(0xC3, 1, char[CLINUX_CONTROL_BYTES]);

int clinux_control(int fd, void *bytes) { return ioctl(fd, clinux_control_command, bytes); }

int clinux_file_place(const char *path, struct clinux_file_place *place) {
  struct statx status;
  // With nothing asked for, FUSE answers even those whom it does not let in.
  if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &status) == -1) return -1;
  place->device = makedev(status.stx_dev_major, status.stx_dev_minor);
  place->block_device = S_ISBLK(status.stx_mode) ? makedev(status.stx_rdev_major, status.stx_rdev_minor) : 0;
  return 0;
}

void clinux_device_in_maps(uint64_t device, char text[32]) {
  snprintf(text, 32, "%02x:%02x", major(device), minor(device));
}

int64_t clinux_find_bytes(const void *bytes, size_t count, const void *wanted, size_t wanted_count) {
  const char *found = memmem(bytes, count, wanted, wanted_count);
  return found ? found - (const char *)bytes : -1;
}

int clinux_loop_detach(int fd) { return ioctl(fd, LOOP_CLR_FD, 0); }

int clinux_process(int32_t id) { return (int)syscall(SYS_pidfd_open, id, 0); }
