// What a process that was forked tells the kernel of itself.
#ifndef CLINUX_CHILDREN_H
#define CLINUX_CHILDREN_H

// Gives the process a name (15 bytes) and a session of its own, away from the terminal and its signals.
void clinux_stand_apart(const char *name);

// Has the kernel send the process a signal when its parent ends; also behind exec. Look at getppid() afterwards.
void clinux_end_with_parent(int number);

// Whether the process ignores a signal.
int clinux_ignores(int number);

// Closes every descriptor above 2 but `count` of them, which are in ascending order.
void clinux_close_others(const int *kept, int count);

#endif
