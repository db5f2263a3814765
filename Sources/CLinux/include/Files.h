// Files, directories and devices: what the Glibc module hides from Swift of them, such as function-like macros, the constants
// behind them, and variadic calls.
#ifndef CLINUX_FILES_H
#define CLINUX_FILES_H

#include <stddef.h>
#include <stdint.h>

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

// An unnamed file in memory, close-on-exec. The descriptor, or -1 with errno.
int clinux_memory_file(const char *name);

#endif
