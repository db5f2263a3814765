// liblzma as Swift sees it. 5.4 or newer: older ones cannot read the index of a file with several streams.
#ifndef CLZMA_SHIM_H
#define CLZMA_SHIM_H

#include <lzma.h>

#endif
