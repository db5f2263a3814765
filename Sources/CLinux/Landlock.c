// What files and networks a process can reach (landlock(7)). Everything that the kernel can refuse is refused, and then
// allowed again where the role needs it. Open files stay as they are.
#define _GNU_SOURCE
#include "Confining.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// By number, for headers that are older than the kernel.
enum { CREATE_VERSION = 1, RULE_PATH_BENEATH = 1, RULE_NET_PORT = 2 };
enum {
  FILE_EXECUTE = 1 << 0,
  FILE_WRITE = 1 << 1,
  FILE_READ = 1 << 2,
  DIRECTORY_READ = 1 << 3,
  // Up to the last of version 1, which makes symbolic links.
  FILES_1 = (1 << 13) - 1,
  // Linking and renaming from directory to directory.
  FILES_2 = 1 << 13,
  // Truncating.
  FILES_3 = 1 << 14,
  // ioctl(2) on devices.
  DEVICE_CONTROL = 1 << 15,
};
enum { TCP_BIND = 1 << 0, TCP_CONNECT = 1 << 1 };
// Connections to abstract Unix sockets, and signals, that leave the domain.
enum { SCOPE_ABSTRACT = 1 << 0, SCOPE_SIGNAL = 1 << 1 };

struct ruleset {
  uint64_t files, network, scopes;
};
struct file_rule {
  uint64_t allowed;
  int32_t parent;
} __attribute__((packed));
struct port_rule {
  uint64_t allowed, port;
};

int landlock_version(void) {
  long version = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
  if (version >= 0) return (int)version;
  // Not built in, or off.
  return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -1;
}

static uint64_t known_files(int version) {
  uint64_t files = FILES_1;
  if (version >= 2) files |= FILES_2;
  if (version >= 3) files |= FILES_3;
  if (version >= 5) files |= DEVICE_CONTROL;
  return files;
}

// A ruleset, and the rights that it refuses.
struct rules {
  int descriptor;
  struct ruleset refused;
};

static int allow_descriptor(const struct rules *rules, int descriptor, uint64_t allowed) {
  struct stat status;
  if (fstat(descriptor, &status) == -1) return -1;
  if (!S_ISDIR(status.st_mode)) allowed &= ~(uint64_t)DIRECTORY_READ;
  struct file_rule rule = {.allowed = allowed & rules->refused.files, .parent = descriptor};
  return (int)syscall(SYS_landlock_add_rule, rules->descriptor, RULE_PATH_BENEATH, &rule, 0);
}

// What is missing, or lies where this process cannot get to, needs no rule.
static int allow_path(const struct rules *rules, const char *path, uint64_t allowed) {
  int descriptor = open(path, O_PATH | O_CLOEXEC);
  if (descriptor == -1) {
    return errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP ? 0 : -1;
  }
  int result = allow_descriptor(rules, descriptor, allowed);
  int error = errno;
  close(descriptor);
  errno = error;
  return result;
}

static int allow_paths(const struct rules *rules, const char *const *paths, uint64_t allowed) {
  for (; paths && *paths; paths++) {
    if (allow_path(rules, *paths, allowed) == -1) return -1;
  }
  return 0;
}

static int allow_port(const struct rules *rules, int port) {
  struct port_rule rule = {.allowed = TCP_CONNECT, .port = (uint64_t)port};
  return (int)syscall(SYS_landlock_add_rule, rules->descriptor, RULE_NET_PORT, &rule, 0);
}

// The directory that a file really is in, where symbolic links have been followed: a file that is replaced by a new one
// keeps its directory.
static int allow_directory_of(const struct rules *rules, const char *path, uint64_t allowed) {
  int descriptor = open(path, O_PATH | O_CLOEXEC);
  if (descriptor == -1) return 0;
  char link[32] = "/proc/self/fd/", digits[12], target[PATH_MAX];
  int count = 0;
  size_t end = strlen(link);
  for (int rest = descriptor; rest || !count; rest /= 10) digits[count++] = (char)('0' + rest % 10);
  while (count) link[end++] = digits[--count];
  ssize_t length = readlink(link, target, sizeof target - 1);
  close(descriptor);
  // Without /proc it is where it is.
  if (length <= 0 || target[0] != '/') return 0;
  target[length] = 0;
  char *slash = strrchr(target, '/');
  slash[slash == target] = 0;
  return allow_path(rules, target, allowed);
}

static const char *const libraries[] = {
    "/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/local/lib",
    "/usr/local/lib64", "/nix/store", "/gnu/store", "/etc/ld.so.cache", "/etc/ld.so.preload", NULL};

static const char *const programs[] = {"/bin", "/sbin", "/usr", NULL};

// What the resolver and GnuTLS look at.
static const char *const resolving[] = {
    "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services",
    "/etc/protocols", "/etc/networks", "/etc/gnutls", "/etc/crypto-policies", "/etc/ssl", "/etc/pki", "/etc/p11-kit",
    "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/usr/share/pki",
    "/usr/share/p11-kit", "/usr/share/crypto-policies", "/proc/sys/crypto/fips_enabled", NULL};

static int allow_network_client(const struct rules *rules, const struct clinux_confinement *confinement) {
  const uint64_t read = FILE_READ | DIRECTORY_READ;
  if (allow_paths(rules, libraries, read) == -1 || allow_paths(rules, resolving, read) == -1) return -1;
  // Written anew when the network changes.
  if (allow_directory_of(rules, "/etc/resolv.conf", FILE_READ) == -1) return -1;
  if (!(rules->refused.network & TCP_CONNECT)) return 0;
  return allow_port(rules, confinement->tcp_port) == -1 || allow_port(rules, 53) == -1 ? -1 : 0;
}

static int allow_disk_reader(const struct rules *rules, const struct clinux_confinement *confinement) {
  const uint64_t execute = FILE_READ | DIRECTORY_READ | FILE_EXECUTE;
  if (allow_paths(rules, libraries, execute) == -1 || allow_paths(rules, programs, execute) == -1) return -1;
  if (confinement->program && allow_path(rules, confinement->program, FILE_READ | FILE_EXECUTE) == -1) return -1;
  // QEMU opens it to find out whether there are locks.
  return allow_path(rules, "/dev/null", FILE_READ | FILE_WRITE);
}

static int allow(const struct rules *rules, const struct clinux_confinement *confinement) {
  if (confinement->role == CLINUX_ROLE_SERVER || confinement->role == CLINUX_ROLE_NBD_CLIENT) return 0;
  // A block device is asked for its size.
  const uint64_t read = FILE_READ | DIRECTORY_READ | DEVICE_CONTROL;
  if (allow_paths(rules, confinement->readable, read) == -1) return -1;
  if (confinement->reads_everything && allow_path(rules, "/", read) == -1) return -1;
  if (confinement->readable_descriptor != -1 && allow_descriptor(rules, confinement->readable_descriptor, read) == -1)
    return -1;
  if (confinement->role == CLINUX_ROLE_NETWORK_CLIENT) return allow_network_client(rules, confinement);
  return allow_disk_reader(rules, confinement);
}

int confine_access(const struct clinux_confinement *confinement, int version) {
  struct rules rules = {.refused = {.files = known_files(version)}};
  if (version >= 4) {
    rules.refused.network = TCP_BIND;
    // Without a port to allow, all are.
    if (confinement->role != CLINUX_ROLE_NETWORK_CLIENT || confinement->tcp_port) rules.refused.network |= TCP_CONNECT;
  }
  if (version >= 6) rules.refused.scopes = SCOPE_ABSTRACT | SCOPE_SIGNAL;
  // What an older kernel does not know of is 0, which it takes.
  rules.descriptor = (int)syscall(SYS_landlock_create_ruleset, &rules.refused, sizeof rules.refused, 0);
  if (rules.descriptor == -1) return -1;
  int result = allow(&rules, confinement);
  if (result == 0) result = (int)syscall(SYS_landlock_restrict_self, rules.descriptor, 0);
  int error = errno;
  close(rules.descriptor);
  errno = error;
  return result;
}
