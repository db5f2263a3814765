// The process itself and its threads: descriptors, rights, priority, memory, log.
#ifndef CLINUX_PROCESS_H
#define CLINUX_PROCESS_H

#include <stddef.h>
#include <stdint.h>

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

// Gives the whole pages in this range of private memory back; their content is lost.
void clinux_give_back(void *start, size_t count);

// Bytes that malloc gave for this pointer.
size_t clinux_allocation_size(void *allocation);

// One pointer per thread, for whoever owns the thread.
void *clinux_thread_pointer(void);
void clinux_set_thread_pointer(void *pointer);

// A counter that poll(2) can wait for (eventfd), close-on-exec and non-blocking. The descriptor, or -1 with errno.
int clinux_event(void);

// Has the kernel find out within about a minute that the peer of an idle TCP connection is gone. Nothing on other sockets.
void clinux_keep_alive(int socket);

// syslog(3) without its varargs; text is logged as it is.
void clinux_syslog_open(const char *identity);
void clinux_syslog(int priority, const char *text);

#endif
