// What a confined process can still do, found out in a child that is confined and tries. The test's own process has threads,
// so its children make system calls only.
#ifndef CCONFINEMENTPROBE_H
#define CCONFINEMENTPROBE_H

#include <stddef.h>
#include <stdint.h>

struct clinux_confinement;

// How a child is confined.
struct probe_setting {
  const struct clinux_confinement *confinement;
  // Whether as a user that is nobody else's.
  int is_another_user;
  // The line of a user namespace's uid_map and gid_map that the child is in; NULL: none of its own.
  const char *map;
  // What the kernel answers to whoever asks for Landlock; 0: the truth.
  int landlock_error;
  // Whether asking to serve reclaim (PR_SET_IO_FLUSHER) is the end of it. Few may ask; so it shows everywhere who does.
  int dies_of_flusher;
};

struct probe_report {
  // How the child ended: 0, a signal's number, or -1 where it could not be confined, with errno and the step.
  int end;
  int error;
  char step[64];
  // What clinux_confine told.
  uint32_t user, group;
  int landlock;
  // The child's /proc/self/status after that.
  char status[4096];
};

// Confines a child and reports.
void probe_confine(const struct probe_setting *setting, struct probe_report *report);

// A system call with its first arguments. It is not made: a filter that the child has from before answers those calls that
// the confinement lets through.
struct probe_call {
  int64_t number;
  uint64_t arguments[5];
};
// Answers, one for each call: 0 where it is let through, else the errno; -1 where the child did not get so far.
void probe_calls(const struct probe_setting *setting, const struct probe_call *calls, size_t count, int32_t *answers,
                 struct probe_report *report);
// The number of one of the calls that are let through for somebody; -1 where this architecture has none.
int64_t probe_number(const char *name);
// Makes a call of another architecture's kind in the child: 0 as x32, 1 as i386. The report's end says what came of it;
// `is_confined` 0: what comes of it without confinement.
void probe_foreign(const struct probe_setting *setting, int kind, int is_confined, struct probe_report *report);

// What is tried with a path, or a descriptor.
enum probe_act {
  PROBE_OPEN_READ,
  PROBE_OPEN_WRITE,
  PROBE_OPEN_READ_WRITE,
  PROBE_CREATE,
  PROBE_CHMOD,
  PROBE_TRUNCATE,
  PROBE_UNLINK,
  PROBE_OPEN_DESCRIPTOR,
  PROBE_EXECUTE,
  PROBE_CONNECT_DESCRIPTOR,
  PROBE_CONNECT_ABSTRACT,
  PROBE_CONNECT_TCP,
  PROBE_BIND_TCP,
  PROBE_SOCKET,
  PROBE_SIGNAL_PARENT,
  PROBE_SIGNAL_SELF,
  PROBE_NEW_USER_NAMESPACE,
  PROBE_FORK,
  PROBE_THREAD,
  PROBE_IO_URING,
  PROBE_MAP_CODE,
  PROBE_MAKE_CODE,
  PROBE_MAP_MEMORY,
  PROBE_READ_PARENT,
};
// Does it in a confined child: 0 where it succeeded, else the errno, or -1 where the child did not get so far.
// `number` is a descriptor, a port or a domain.
int probe_act(const struct probe_setting *setting, enum probe_act act, const char *path, int number);

// A descriptor of another process, as this one's own; -1 where that may not be had.
int probe_take_descriptor(int process, int descriptor);

// Sends a message, and with it the descriptor `passed` twice unless that is -1. Does not wait: -1 where there is no room.
int probe_send(int socket, const void *bytes, size_t count, int passed);

#endif
