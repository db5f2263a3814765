#define _GNU_SOURCE
#include "Messages.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

int clinux_message_sockets(int ends[2]) { return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends); }

// Room for one descriptor, aligned as the kernel's header is.
union control {
  char bytes[CMSG_SPACE(sizeof(int))];
  struct cmsghdr header;
};

int clinux_send_message(int socket, const void *bytes, size_t count, int passed, int must_not_wait) {
  struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  union control control = {0};
  if (passed != -1) {
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &passed, sizeof passed);
  }
  ssize_t sent;
  do sent = sendmsg(socket, &message, MSG_NOSIGNAL | (must_not_wait ? MSG_DONTWAIT : 0));
  while (sent == -1 && errno == EINTR);
  return sent == -1 ? -1 : 0;
}

int64_t clinux_receive_message(int socket, void *bytes, size_t room, int *passed) {
  struct iovec part = {.iov_base = bytes, .iov_len = room};
  union control control = {0};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  // Without room for descriptors, the kernel lets go of those that are sent.
  if (!passed) message.msg_control = NULL, message.msg_controllen = 0;
  ssize_t received;
  // ECONNRESET is told once, where the other side left something unread, and ahead of what it had sent.
  do received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (received == -1 && (errno == EINTR || errno == ECONNRESET));
  if (received == -1 || !passed) return received;
  *passed = -1;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
      header->cmsg_len == CMSG_LEN(sizeof(int)))
    memcpy(passed, CMSG_DATA(header), sizeof *passed);
  return received;
}

int clinux_signals(const int *numbers, size_t count) {
  sigset_t set;
  sigemptyset(&set);
  for (size_t i = 0; i < count; i++) sigaddset(&set, numbers[i]);
  if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) return -1;
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int clinux_take_signal(int signals, int *is_kernels) {
  struct signalfd_siginfo information;
  if (read(signals, &information, sizeof information) != sizeof information) return 0;
  *is_kernels = information.ssi_code == SI_KERNEL;
  return (int)information.ssi_signo;
}
