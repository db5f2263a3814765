// libfuse3's low-level API as Swift sees it.
//
// The version is what Debian 12 has (3.14); newer libraries keep serving it. _FILE_OFFSET_BITS is not set here on
// purpose: off_t has 64 bits on every 64-bit Linux, and the define breaks the import.
#ifndef CFUSE_SHIM_H
#define CFUSE_SHIM_H

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>

#endif
