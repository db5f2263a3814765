// Giving up for good, for this process and all that it becomes, what its task does not need: identity, capabilities, files,
// the network, and system calls.
#ifndef CLINUX_CONFINEMENT_H
#define CLINUX_CONFINEMENT_H

#include <stdint.h>

// What a process does from then on. Each may do what those before it may, but for the last.
enum clinux_role {
  // Serves a FUSE device from open files. Opens nothing.
  CLINUX_ROLE_SERVER,
  // Also connects to Unix sockets, by places that it has open (/proc/self/fd/N of an O_PATH descriptor).
  CLINUX_ROLE_NBD_CLIENT,
  // Also reaches NBD servers by name, over TCP, TLS, vsock and Unix sockets: libnbd, GnuTLS and the resolver are in it.
  CLINUX_ROLE_NETWORK_CLIENT,
  // Executes a program that reads an image and answers on a socket that it inherits: qemu-nbd.
  CLINUX_ROLE_DISK_READER,
};

// Who a process becomes, besides numbers: who it is, and clinux_unused_user().
enum { CLINUX_SAME_USER = -1, CLINUX_UNUSED_USER = -2 };

struct clinux_confinement {
  enum clinux_role role;
  // Another user and group, and no supplementary groups. Needs CAP_SETUID and CAP_SETGID. Where the numbers mean nothing in
  // this user namespace, it is 65534, and where that neither, the process stays who it is.
  int64_t user;
  int64_t group;
  // Capabilities (bits numbered by CAP_*) that an executed program still has; 0 for none. Those that the caller does not
  // have are left out.
  uint64_t kept_capabilities;
  // A signal to get when the thread that forked this one ends; 0 for none. (One asked for before is called off by
  // another user.) Look at getppid() afterwards.
  int death_signal;
  // What may be read, beneath directories: a list that ends with NULL, or NULL. Missing ones are skipped. Not for those
  // roles that open nothing.
  const char *const *readable;
  // An open file that may be opened again for reading; -1 for none.
  int readable_descriptor;
  // Whether everything may be read that the user may read.
  int reads_everything;
  // DISK_READER: the program, which may be executed as may what is in the directories of the system's programs.
  const char *program;
  // NETWORK_CLIENT: the one port that TCP connections may go to, besides the resolver's (Linux 6.7); 0: any.
  int tcp_port;
};

// What became of it.
struct clinux_confined {
  // The step that failed, in words; NULL where none did.
  const char *failed_step;
  // Who the process is now, which says whether another user was to be had.
  uint32_t user;
  uint32_t group;
  // The version of Landlock that the kernel has; 0 where it has none, and files are guarded by the rest alone.
  int landlock;
};

// Confines the calling process, which must have one thread. 0, or -1 with errno and `failed_step`: then the process has an
// unknown part of its rights left, and must end. Makes system calls only (signal-safety(7)).
int clinux_confine(const struct clinux_confinement *confinement, struct clinux_confined *result);

// A user and group id that is nobody's, and no other process's on this machine as long as this one lives: whoever breaks out of
// one server cannot send signals to another or look into it.
int64_t clinux_unused_user(void);

// Whether this process has the capabilities to have a child become another user, end it, and look into it (/proc/PID/fd).
int clinux_may_change_user(void);

#endif
