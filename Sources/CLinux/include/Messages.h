// Messages between two processes, with a descriptor, through a pair of sockets (unix(7)): the macros for that are not for
// Swift. And the signals of a process as a descriptor.
#ifndef CLINUX_MESSAGES_H
#define CLINUX_MESSAGES_H

// No header of the system's own types: they would become this module's.
#include <stddef.h>
#include <stdint.h>

// Two ends of a connection that keeps the borders of messages, close-on-exec. 0, or -1 with errno.
int clinux_message_sockets(int ends[2]);

// Sends `count` bytes, and the descriptor `passed` unless that is -1. Waits for room unless `must_not_wait`.
// 0, or -1 with errno.
int clinux_send_message(int socket, const void *bytes, size_t count, int passed, int must_not_wait);

// Receives a message of up to `room` bytes. *passed is the descriptor that came with it, close-on-exec, or -1;
// where `passed` is NULL, none is taken.
// Its length, 0 where the other end is closed, or -1 with errno.
int64_t clinux_receive_message(int socket, void *bytes, size_t room, int *passed);

// Blocks `count` signals, and makes a descriptor from which they are read one by one; close-on-exec, non-blocking.
// The descriptor, or -1 with errno.
int clinux_signals(const int *numbers, size_t count);

// Takes a signal from such a descriptor; 0 where there is none. *is_kernels: whether the kernel sent it, as it does to all
// processes in the foreground of a terminal, and no process.
int clinux_take_signal(int signals, int *is_kernels);

#endif
