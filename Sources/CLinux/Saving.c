#define _GNU_SOURCE
#include "Saving.h"

#include "Mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int draft_directory = -1;
static char draft[256];
static int asked = -1;
static char request[CLINUX_CONTROL_BYTES];
static char last_words[256];

static const int endings[] = {SIGINT, SIGTERM, SIGHUP};
enum { ENDINGS = sizeof endings / sizeof *endings };

// The signals of `endings` are blocked in it, and while what it uses changes.
static void on_ending(int number) {
  if (draft[0]) unlinkat(draft_directory, draft, 0);
  if (asked != -1) clinux_control(asked, request);
  if (write(STDERR_FILENO, last_words, strlen(last_words)) == -1) errno = 0;
  signal(number, SIG_DFL);
  raise(number);
}

static sigset_t the_endings(void) {
  sigset_t set;
  sigemptyset(&set);
  for (int i = 0; i < ENDINGS; i++) sigaddset(&set, endings[i]);
  return set;
}

static sigset_t block_endings(void) {
  sigset_t set = the_endings(), before;
  sigprocmask(SIG_BLOCK, &set, &before);
  return before;
}

void clinux_end_on_signals(const char *line) {
  struct sigaction action = {.sa_handler = line ? on_ending : SIG_DFL, .sa_mask = the_endings()};
  sigset_t before = block_endings();
  last_words[0] = 0;
  if (line && strlen(line) < sizeof last_words) strcpy(last_words, line);
  for (int i = 0; i < ENDINGS; i++) {
    struct sigaction present;
    if (sigaction(endings[i], NULL, &present) == 0 && present.sa_handler == SIG_IGN) continue;
    sigaction(endings[i], &action, NULL);
  }
  sigprocmask(SIG_SETMASK, &before, NULL);
}

void clinux_remove_on_signals(int directory, const char *name) {
  sigset_t before = block_endings();
  draft_directory = directory;
  draft[0] = 0;
  if (name && strlen(name) < sizeof draft) strcpy(draft, name);
  sigprocmask(SIG_SETMASK, &before, NULL);
}

void clinux_control_on_signals(int fd, const void *message, size_t size) {
  sigset_t before = block_endings();
  asked = message && size <= sizeof request ? fd : -1;
  memset(request, 0, sizeof request);
  if (asked != -1) memcpy(request, message, size);
  sigprocmask(SIG_SETMASK, &before, NULL);
}

static int watched = -1;
static volatile sig_atomic_t had_writers;

// Whoever opens the file waits until the lease is given back.
static void on_writer(int number) {
  (void)number;
  int error = errno;
  had_writers = 1;
  fcntl(watched, F_SETLEASE, F_UNLCK);
  errno = error;
}

int clinux_watch_writers(int fd) {
  struct sigaction action = {.sa_handler = on_writer, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(SIGIO, &action, NULL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGIO);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  watched = fd;
  had_writers = 0;
  if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) return 0;
  watched = -1;
  return errno == EAGAIN ? 1 : -1;
}

int clinux_had_writers(void) {
  if (watched != -1) fcntl(watched, F_SETLEASE, F_UNLCK);
  watched = -1;
  return had_writers;
}

int clinux_rename_within(int directory, const char *from, const char *to, int replaces) {
  if (replaces) return renameat(directory, from, directory, to);
  if (renameat2(directory, from, directory, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  // The file system cannot do that at once (NFS).
  if (linkat(directory, from, directory, to, 0) == -1) return -1;
  return unlinkat(directory, from, 0);
}
