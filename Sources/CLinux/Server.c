// A server that lives exactly as long as a mount. Between the mount's process and the server stands a third process, the
// minder, which does nothing but wait: for the server, or for the end of a pipe that only the mount's process holds open.
// So the server ends with the mount however that ends, SIGKILL included, and also where the server changed its user, is a
// shell with children of its own, or left a daemon, where PR_SET_PDEATHSIG alone would not reach it.
//
// All but clinux_start_server() runs in children of a process that may have threads: only what signal-safety(7) allows.
#define _GNU_SOURCE
#include "CLinux.h"
#include "Confining.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const int clinux_o_path = O_PATH;

// Descriptors as minder and server have them, when everything else is closed.
enum { SOCKET = 3, IMAGE = 4, LIFE = 5, REPORT = 6, OUTPUT = 7, LAST = OUTPUT };

// How long a server may take to end by itself.
enum { GRACE_MILLISECONDS = 5000, STEP_MILLISECONDS = 10 };

static void tell(int kind, int value) {
  struct clinux_server_report report = {.kind = kind, .value = value};
  // Shorter than PIPE_BUF, so it is written whole or not at all; nobody reads it any more where the mount's process is gone.
  while (write(REPORT, &report, sizeof report) == -1 && errno == EINTR) continue;
}

// Puts a descriptor where it is expected, close-on-exec. Every source is above every target.
static int place(int from, int to) { return from == -1 ? close(to), 0 : dup3(from, to, O_CLOEXEC); }

static int arrange(const struct clinux_server_command *command, int life, int report) {
  int sources[] = {command->socket, command->image, life, report, command->output};
  for (int i = 0; i < 5; i++) {
    if (sources[i] == -1) continue;
    sources[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, LAST + 1);
    if (sources[i] == -1) return -1;
  }
  for (int i = 0; i < 5; i++) {
    if (place(sources[i], SOCKET + i) == -1) return -1;
  }
  clinux_close_from(LAST + 1);
  // The caller may wait for the end of its standard output or error; the minder must not hold them.
  int null = open("/dev/null", O_RDWR);
  if (null == -1) return -1;
  for (int fd = 0; fd <= 2; fd++) {
    if (null != fd && dup2(null, fd) == -1) return -1;
  }
  if (null > 2) close(null);
  return 0;
}

static void write_number(char *text, long number) {
  char digits[24];
  int count = 0;
  do digits[count++] = (char)('0' + number % 10);
  while (number /= 10);
  while (count) *text++ = digits[--count];
  *text = 0;
}

// A process that needs no directory keeps none busy.
static void leave_directory(void) {
  if (chdir("/") == -1) return;
}

// Whether somebody who is confined so can open the image again, as QEMU does. Some file systems let in only who mounted
// them, whatever the file's permissions (FUSE), or have a server decide (NFS).
static int can_open_image(const struct clinux_confinement *confinement) {
  pid_t child = fork();
  if (child == 0) {
    const int is_changed = confine_bounding_set(confinement->kept_capabilities) == 0 &&
                           confine_identity(confinement) == 0 &&
                           confine_capabilities(confinement->kept_capabilities) == 0;
    _exit(is_changed && open("/proc/self/fd/4", O_RDONLY | O_CLOEXEC | O_NONBLOCK) != -1 ? 0 : 1);
  }
  int status = 0;
  while (child != -1 && waitpid(child, &status, 0) == -1 && errno == EINTR) continue;
  return child != -1 && status == 0;
}

// Gives up what the server does not need. Fails with the errno of what cannot be done.
static int confine(const struct clinux_server_command *command) {
  struct clinux_confinement confinement = *command->confinement;
  confinement.program = command->path;
  // The change of the user calls off what was asked for before.
  confinement.death_signal = SIGTERM;
  confinement.readable_descriptor = command->image == -1 ? -1 : IMAGE;
  if (command->image != -1 && confinement.user != CLINUX_SAME_USER && !can_open_image(&confinement))
    confinement.user = confinement.group = CLINUX_SAME_USER;
  struct clinux_confined result;
  return clinux_confine(&confinement, &result);
}

// The server's own process, until it is the server.
static _Noreturn void become(const struct clinux_server_command *command, pid_t minder) {
  // A group of its own: Ctrl-C on the terminal is for the mount, which then ends the server in its order.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != minder) _exit(127);
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  // It is part of serving the mount: reclaim that waits for the mount must not make it wait for reclaim.
  clinux_set_io_flusher();
  if (command->confinement) leave_directory();
  write_number(command->pid_text, getpid());
  // These three without close-on-exec, and the image where there is one.
  if (dup2(OUTPUT, 1) != -1 && dup2(OUTPUT, 2) != -1 && fcntl(SOCKET, F_SETFD, 0) != -1 &&
      (command->image == -1 || fcntl(IMAGE, F_SETFD, 0) != -1) &&
      (!command->confinement || (confine(command) == 0 && getppid() == minder)))
    execve(command->path, command->arguments, command->environment);
  tell(CLINUX_SERVER_NOT_STARTED, errno);
  _exit(127);
}

static void sleep_a_step(void) {
  struct timespec step = {.tv_nsec = STEP_MILLISECONDS * 1000000};
  nanosleep(&step, NULL);
}

// Ends what is left of the server's process group. As a subreaper, the minder is or becomes the parent of all of it, so there
// is a definite answer to whether anything is left, and the group's number is nobody else's until then. What changed to a
// user whom a user's minder may not kill is left in the end.
static void end_group(pid_t server) {
  kill(-server, SIGTERM);
  kill(-server, SIGCONT);
  for (int waited = 0; waitpid(-server, NULL, WNOHANG) != -1; waited += STEP_MILLISECONDS) {
    if (waited == GRACE_MILLISECONDS) kill(-server, SIGKILL);
    if (waited == 2 * GRACE_MILLISECONDS) break;
    sleep_a_step();
  }
}

// Sends a signal to each child of this process. False where the kernel does not tell which they are.
static int signal_children(int number) {
  int list = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
  if (list == -1) return 0;
  char text[512];
  pid_t child = 0;
  for (ssize_t count; (count = read(list, text, sizeof text)) > 0;) {
    for (ssize_t i = 0; i < count; i++) {
      if (text[i] != ' ') {
        child = child * 10 + (text[i] - '0');
      } else {
        kill(child, number);
        child = 0;
      }
    }
  }
  close(list);
  return 1;
}

// Ends what has left the group, such as a daemon with a session of its own. When one ends, its children become the minder's.
static void end_others(void) {
  int are_told = 0;
  for (int waited = 0; waited < 2 * GRACE_MILLISECONDS; waited += STEP_MILLISECONDS) {
    pid_t ended = waitpid(-1, NULL, WNOHANG);
    if (ended == -1) return;
    if (ended > 0 || !are_told) are_told = signal_children(SIGTERM);
    if (!are_told) return;
    if (waited >= GRACE_MILLISECONDS) signal_children(SIGKILL);
    if (ended == 0) sleep_a_step();
  }
}

static _Noreturn void mind(pid_t server) {
  struct pollfd waits[] = {
      {.fd = LIFE, .events = POLLIN}, {.fd = (int)syscall(SYS_pidfd_open, server, 0), .events = POLLIN}};
  // Before Linux 5.3, by looking again and again.
  int pause = waits[1].fd == -1 ? 200 : -1;
  siginfo_t end = {0};
  while (1) {
    poll(waits, 2, pause);
    // Left unreaped, so that its group keeps its number.
    if (waitid(P_PID, (id_t)server, &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_pid == server) {
      tell(end.si_code == CLD_EXITED ? CLINUX_SERVER_EXITED : CLINUX_SERVER_KILLED, end.si_status);
      break;
    }
    if (waits[0].revents) break;
  }
  end_group(server);
  end_others();
  _exit(0);
}

static _Noreturn void start_and_mind(const struct clinux_server_command *command, int life, int report) {
  // No signal ends it, and none that is meant for the mount reaches it. `killall cowmount` does not find it.
  setsid();
  prctl(PR_SET_NAME, "nbd-minder");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (arrange(command, life, report) == -1) _exit(127);
  pid_t minder = getpid();
  pid_t server = fork();
  if (server == 0) become(command, minder);
  if (server == -1) {
    tell(CLINUX_SERVER_NOT_STARTED, errno);
    _exit(127);
  }
  // Whoever comes first sets it, so that it is set when it is needed.
  setpgid(server, server);
  close(SOCKET);
  close(IMAGE);
  close(OUTPUT);
  leave_directory();
  // The server may have changed its user.
  clinux_keep_capabilities((uint64_t)1 << CAP_KILL);
  tell(CLINUX_SERVER_STARTED, server);
  mind(server);
}

int clinux_start_server(const struct clinux_server_command *command, struct clinux_server *server) {
  int life[2], report[2];
  if (pipe2(life, O_CLOEXEC) == -1) return -1;
  if (pipe2(report, O_CLOEXEC) == -1) {
    int error = errno;
    close(life[0]);
    close(life[1]);
    errno = error;
    return -1;
  }
  // No handler of this process may run in the child.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t minder = fork();
  if (minder == 0) {
    // Else it would hold its own life in its hands.
    close(life[1]);
    start_and_mind(command, life[0], report[1]);
  }
  int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  close(life[0]);
  close(report[1]);
  *server = (struct clinux_server){.minder = minder, .life = life[1], .report = report[0]};
  if (minder != -1) return 0;
  close(life[1]);
  close(report[0]);
  errno = error;
  return -1;
}
