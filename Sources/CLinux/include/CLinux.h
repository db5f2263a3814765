// Everything of this target, by purpose: what the Glibc module hides from Swift, and what must be C because it runs between
// fork and exec, in a signal handler, or while a process gives up its rights.
#ifndef CLINUX_H
#define CLINUX_H

#include "Children.h"
#include "Confinement.h"
#include "FaultGuard.h"
#include "Fences.h"
#include "Files.h"
#include "Messages.h"
#include "Mounts.h"
#include "Process.h"
#include "Saving.h"
#include "Server.h"

#endif
