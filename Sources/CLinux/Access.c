// Access control lists.
#include "Files.h"

#include <sys/xattr.h>

static const char access_list[] = "system.posix_acl_access";

int64_t clinux_access_list(int fd, void *list, size_t size) { return fgetxattr(fd, access_list, list, size); }

int64_t clinux_access_list_of(const char *path, void *list, size_t size) {
  return lgetxattr(path, access_list, list, size);
}
