// What the Glibc module hides from Swift (function-like macros, constants behind them, variadic calls) and the one
// thing that cannot be written in Swift: touching a shared file mapping that may fault with SIGBUS.
#ifndef CLINUX_H
#define CLINUX_H

#include <stddef.h>
#include <stdint.h>

#include "Children.h"
#include "Confinement.h"
#include "Fences.h"
#include "Messages.h"
#include "Mounts.h"

// open(2): an unnamed file in a directory, never visible to anybody. O_CLOEXEC and mode are the caller's.
extern const int clinux_o_tmpfile;
extern const int clinux_o_noatime;
extern const int clinux_o_direct;
// open(2): a place in the file system, whatever is there, and no access to it.
extern const int clinux_o_path;

// Whether it is a directory that the kernel has somebody mount as soon as it is entered (autofs), and nobody has yet.
int clinux_is_automount(int fd);

// utimensat(2): leave this time as it is.
extern const long clinux_utime_omit;

// fallocate(2) modes.
extern const int clinux_falloc_keep_size;
extern const int clinux_falloc_punch_hole;
extern const int clinux_falloc_zero_range;

// Creates and opens (read-write, close-on-exec, 0600) a file named after `template`, whose last six bytes are XXXXXX,
// and unlinks it at once. The descriptor, or -1 with errno.
int clinux_unlinked_temporary(const char *template);

// fallocate(2).
int clinux_fallocate(int fd, int mode, int64_t offset, int64_t count);

// lseek(2) whence values.
extern const int clinux_seek_data;
extern const int clinux_seek_hole;

// Size in bytes of an open block device (BLKGETSIZE64). 0, or -1 with errno.
int clinux_block_device_size(int fd, uint64_t *bytes);

// What offsets, lengths and addresses of direct reads must be multiples of (STATX_DIOALIGN); 0 where the file takes none.
// 0, or -1 with errno where that is not known.
int clinux_direct_alignment(int fd, uint32_t *alignment);

// The POSIX access control list of an open file, or of what is at a path and is no symbolic link, as the kernel hands it
// out (linux/posix_acl_xattr.h). Its size, or -1 with errno: ENODATA where there is none.
int64_t clinux_access_list(int fd, void *list, size_t size);
int64_t clinux_access_list_of(const char *path, void *list, size_t size);

// What an open loop device is on: st_dev and st_ino of a file, or st_rdev of a block device. 0, or -1 with errno.
struct clinux_loop_backing {
  uint64_t device;
  uint64_t inode;
  uint64_t block_device;
};
int clinux_loop_backing(int fd, struct clinux_loop_backing *backing);

// Asks for no copy-on-write and no checksums on an empty file (btrfs). 0, or -1 with errno where not supported.
int clinux_set_nocow(int fd);

// Whether the file is on a file system whose page_mkwrite sets space aside for a page of a hole before a store reaches it,
// and turns a lack of space into SIGBUS: ext4 and xfs.
int clinux_stores_allocate(int fd);

// Writes the file's dirty pages back and waits for that.
int clinux_write_back(int fd);

// Open file description locks on one byte. clinux_ofd_is_locked: 1 where another opening's lock is in the way of an
// exclusive one, else 0. Both: -1 with errno.
int clinux_ofd_lock_shared(int fd, int64_t byte);
int clinux_ofd_is_locked(int fd, int64_t byte);

// Has the kernel write back `count` bytes (0: all) of a file from `start` on, and waits for that. Errors of that are for who
// wrote, and are no failure here. 0, or -1 with errno.
int clinux_write_back_range(int fd, int64_t start, int64_t count);

// st_dev from its two parts.
uint64_t clinux_device_number(unsigned major, unsigned minor);

// Closes every descriptor from `first` on.
void clinux_close_from(int first);

// Gives up, for this thread and those it starts, every capability but those in `kept` (bits numbered by CAP_*), and the
// way to gain any by exec. 0, or -1 with errno.
int clinux_keep_capabilities(uint64_t kept);
extern const int clinux_cap_dac_read_search;

// Tells the kernel that this process serves its memory reclaim (PR_SET_IO_FLUSHER). 0, or -1 with errno.
int clinux_set_io_flusher(void);

// Gives this thread a name (15 bytes) and the lowest priority for processors and disks.
void clinux_enter_background(const char *name);

// Backs the whole pages in this range of private memory now instead of at first touch.
void clinux_populate(void *start, size_t count);

// Bytes that malloc gave for this pointer.
size_t clinux_allocation_size(void *allocation);

// An unnamed file in memory, close-on-exec. The descriptor, or -1 with errno.
int clinux_memory_file(const char *name);

// Guarded access to file mappings. clinux_install_fault_guard() must have been called once in the process.
// Each returns 0, or -1 where the mapping faulted (SIGBUS: no space behind a hole, or an I/O error); what was
// written before the fault stays.
void clinux_install_fault_guard(void);
int clinux_copy_guarded(void *destination, const void *source, size_t count);
int clinux_zero_guarded(void *destination, size_t count);

// One pointer per thread, for whoever owns the thread.
void *clinux_thread_pointer(void);
void clinux_set_thread_pointer(void *pointer);

// A counter that poll(2) can wait for (eventfd), close-on-exec and non-blocking. The descriptor, or -1 with errno.
int clinux_event(void);

// Has the kernel find out within about a minute that the peer of an idle TCP connection is gone. Nothing on other sockets.
void clinux_keep_alive(int socket);

// A program that serves on a socket, and lives as long as the caller (Server.c).
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

// syslog(3) without its varargs; text is logged as it is.
void clinux_syslog_open(const char *identity);
void clinux_syslog(int priority, const char *text);

#endif
