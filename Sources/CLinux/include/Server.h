// A program that serves on a socket, and lives as long as the caller (Server.c).
#ifndef CLINUX_SERVER_H
#define CLINUX_SERVER_H

#include <stdint.h>

#include "Confinement.h"

// Its command line and what it inherits.
struct clinux_server_command {
  const char *path;
  char *const *arguments;
  // Must have a variable whose value begins at pid_text, with room for 24 bytes: the server's process id goes there.
  char *const *environment;
  char *pid_text;
  // The server's descriptors: 3, 4 (none where -1), and 1 with 2. Its standard input is /dev/null, and it has no others.
  int socket;
  int image;
  int output;
  // What the server gives up, its current directory with it; NULL: nothing. The program, the image and the death signal
  // are filled in. It stays the same user where another cannot open the image.
  const struct clinux_confinement *confinement;
};

struct clinux_server {
  int32_t minder;
  // Held open for as long as the server is to live. Then the minder ends it, with SIGKILL after some seconds, and exits.
  int life;
  // Where reports can be read.
  int report;
};

// What became of a server: its process id, an errno, an exit status, a signal.
enum { CLINUX_SERVER_STARTED, CLINUX_SERVER_NOT_STARTED, CLINUX_SERVER_EXITED, CLINUX_SERVER_KILLED };
struct clinux_server_report {
  int32_t kind;
  int32_t value;
};

// Starts a server and its minder, a child of the caller. 0, or -1 with errno.
int clinux_start_server(const struct clinux_server_command *command, struct clinux_server *server);

#endif
