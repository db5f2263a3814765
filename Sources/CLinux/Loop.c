// Loop devices.
#include "Files.h"

#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

// The kernel's huge_encode_dev.
static uint64_t decoded(uint64_t number) {
  return makedev(number >> 8 & 0xfff, (number & 0xff) | (number >> 12 & 0xfff00));
}

int clinux_loop_backing(int fd, struct clinux_loop_backing *backing) {
  struct loop_info64 info;
  memset(&info, 0, sizeof info);
  if (ioctl(fd, LOOP_GET_STATUS64, &info) == -1) return -1;
  backing->device = decoded(info.lo_device);
  backing->inode = info.lo_inode;
  backing->block_device = decoded(info.lo_rdevice);
  return 0;
}
