// What is asked of a mount, and of those who use it, from outside.
#ifndef CLINUX_MOUNTS_H
#define CLINUX_MOUNTS_H

#include <stdint.h>
// No other header of the system's own types: they would become this module's.
#include <stddef.h>

// The one ioctl(2) request that the exposed file of a mount takes, and the bytes that it carries there and back: as many as
// its number can say, in whole words.
enum { CLINUX_CONTROL_BYTES = 16368 };
extern const uint32_t clinux_control_command;

// Makes that request; `bytes` has CLINUX_CONTROL_BYTES. 0, or -1 with errno.
int clinux_control(int fd, void *bytes);

// The file system that a file is on (st_dev), and the device that it is (st_rdev; 0 for others). Of what the kernel knows
// already: no file system is asked, since one that hangs would keep the asker for ever. A file's name that is a link of /proc
// leads to what is open. 0, or -1 with errno.
struct clinux_file_place {
  uint64_t device;
  uint64_t block_device;
};
int clinux_file_place(const char *path, struct clinux_file_place *place);

// The device as /proc/PID/maps has it, as a text of at most 31 bytes: 00:3a.
void clinux_device_in_maps(uint64_t device, char text[32]);

// The first place of some bytes in others; -1 for none.
int64_t clinux_find_bytes(const void *bytes, size_t count, const void *wanted, size_t wanted_count);

// Detaches a loop device as soon as nobody has it open. 0, or -1 with errno.
int clinux_loop_detach(int fd);

// A descriptor of a process, readable when it has ended. The descriptor, or -1 with errno.
int clinux_process(int32_t id);

#endif
