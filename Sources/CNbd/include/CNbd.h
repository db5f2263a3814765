// libnbd, loaded when an NBD server is used and not before. Linked in, it would bring a TLS and an XML library into every
// start of the command.
#ifndef CNBD_H
#define CNBD_H

#include <libnbd.h>

// The functions that are used, without their prefix.
#define CNBD_FUNCTIONS(DO) \
  DO(add_meta_context) \
  DO(aio_block_status) \
  DO(aio_command_completed) \
  DO(aio_connect_uri) \
  DO(aio_disconnect) \
  DO(aio_get_direction) \
  DO(aio_get_fd) \
  DO(aio_is_closed) \
  DO(aio_is_connecting) \
  DO(aio_is_dead) \
  DO(aio_is_negotiating) \
  DO(aio_is_ready) \
  DO(aio_notify_read) \
  DO(aio_notify_write) \
  DO(aio_opt_go) \
  DO(aio_opt_list) \
  DO(aio_pread_structured) \
  DO(can_meta_context) \
  DO(can_multi_conn) \
  DO(close) \
  DO(connect_uri) \
  DO(create) \
  DO(flush) \
  DO(get_block_size) \
  DO(get_errno) \
  DO(get_error) \
  DO(get_export_name) \
  DO(get_size) \
  DO(get_strict_mode) \
  DO(pwrite) \
  DO(set_opt_mode) \
  DO(set_pread_initialize) \
  DO(set_strict_mode) \
  DO(set_uri_allow_local_file) \
  DO(shutdown) \
  DO(zero)

struct cnbd_functions {
#define CNBD_FIELD(name) __typeof__(nbd_##name) *_Nonnull name;
  CNBD_FUNCTIONS(CNBD_FIELD)
#undef CNBD_FIELD
};

// Loads the library, once in the process. The functions, or NULL where it cannot be used; then *reason is what the dynamic
// linker says, good until the next call of it in this thread.
const struct cnbd_functions *_Nullable cnbd_load(const char *_Nullable *_Nonnull reason);

#endif
