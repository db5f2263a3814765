#define _GNU_SOURCE
#include "include/CConfinementProbe.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int probe_take_descriptor(int process, int descriptor) {
  int handle = (int)syscall(SYS_pidfd_open, process, 0);
  if (handle == -1) return -1;
  int taken = (int)syscall(SYS_pidfd_getfd, handle, descriptor, 0);
  close(handle);
  return taken;
}

int probe_send(int socket, const void *bytes, size_t count, int passed) {
  struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  const int both[2] = {passed, passed};
  union {
    char bytes[CMSG_SPACE(sizeof both)];
    struct cmsghdr header;
  } control = {0};
  if (passed != -1) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof both);
    memcpy(CMSG_DATA(&control.header), both, sizeof both);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == -1 ? -1 : 0;
}
