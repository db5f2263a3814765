#include "CNbd.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

static struct cnbd_functions functions;
static void *library;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const char *load(void) {
  void *handle = dlopen("libnbd.so.0", RTLD_NOW | RTLD_LOCAL);
  if (!handle) return dlerror();
#define CNBD_FIND(name) \
  *(void **)&functions.name = dlsym(handle, "nbd_" #name); \
  if (!functions.name) return dlerror();
  CNBD_FUNCTIONS(CNBD_FIND)
#undef CNBD_FIND
  library = handle;
  return NULL;
}

const struct cnbd_functions *cnbd_load(const char **reason) {
  pthread_mutex_lock(&lock);
  if (!library) *reason = load();
  const struct cnbd_functions *found = library ? &functions : NULL;
  pthread_mutex_unlock(&lock);
  return found;
}
