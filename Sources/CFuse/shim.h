// libfuse3's low-level API as Swift sees it.
//
// The version is what Debian 12 has (3.14); newer libraries keep serving it. _FILE_OFFSET_BITS is not set here on
// purpose: off_t has 64 bits on every 64-bit Linux, and the define breaks the import.
//
// The header has the name that pkg-config's -I is made for: with a folder before it, it could be that of another libfuse
// than the one that is linked.
#ifndef CFUSE_SHIM_H
#define CFUSE_SHIM_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

// fuse_session_new is a macro from 3.17 on, which Swift does not see.
static inline struct fuse_session *cfuse_session_new(
    struct fuse_args *arguments, const struct fuse_lowlevel_ops *operations, size_t size, void *userdata) {
  return fuse_session_new(arguments, operations, size, userdata);
}

// Capabilities as numbers: libfuse has them as macros, and 3.17 as an enumeration.
static const uint32_t cfuse_async_read = FUSE_CAP_ASYNC_READ;
static const uint32_t cfuse_async_dio = FUSE_CAP_ASYNC_DIO;
static const uint32_t cfuse_writeback_cache = FUSE_CAP_WRITEBACK_CACHE;
static const uint32_t cfuse_parallel_dirops = FUSE_CAP_PARALLEL_DIROPS;

// Wants those of the capabilities that the kernel offers, and no others. From 3.17 on there are fields of 64 bits for that.
// 3.17.0 and 3.17.1 take the old field for an addition to libfuse's defaults: with FUSE_CAP_ATOMIC_O_TRUNC among these, an
// open with O_TRUNC would leave the bytes as they are.
static inline void cfuse_want(struct fuse_conn_info *connection, uint32_t capabilities) {
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  connection->want_ext = connection->capable_ext & capabilities;
#else
  connection->want = connection->capable & capabilities;
#endif
}

#endif
