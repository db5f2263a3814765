// What saving a disk needs of the system: to clean up on a signal, and to know whether a file is written to.
#ifndef CLINUX_SAVING_H
#define CLINUX_SAVING_H

#include <stddef.h>

// Before SIGINT, SIGTERM or SIGHUP ends the process, cleans up (below) and writes `line` to standard error. Signals that are
// ignored stay so. With `line` NULL, signals do again what they usually do.
void clinux_end_on_signals(const char *line);

// What is cleaned up: a name in an open directory is removed; nothing where it is NULL.
void clinux_remove_on_signals(int directory, const char *name);

// And a mount is asked something once more (clinux_control); nothing where `request` is NULL.
void clinux_control_on_signals(int fd, const void *request, size_t size);

// Looks out for whoever opens a file for writing, truncates it or has a loop device on it, in whatever process: the file is
// open for reading here, and is the caller's, or the caller is privileged. 0; 1 where somebody has it open for writing now;
// -1 with errno where that cannot be said.
int clinux_watch_writers(int fd);

// Whether there was one since, or now. Ends the looking out.
int clinux_had_writers(void);

// Renames within an open directory; where `replaces` is 0, fails with EEXIST if there is something of that name. 0, or -1 with
// errno.
int clinux_rename_within(int directory, const char *from, const char *to, int replaces);

#endif
