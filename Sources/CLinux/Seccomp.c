// A filter of system calls (seccomp(2)): what a server of files never does, and somebody who had made it run code of his
// own would do first, is refused.
#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
// From here on there are the numbers of another calling convention (x32).
#define FIRST_FOREIGN 0x40000000u
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

static const unsigned refused[] = {
    // Other programs, and other processes.
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    // Mounts and namespaces; umount2 alone is needed.
    SYS_mount,
    SYS_pivot_root,
    SYS_chroot,
    SYS_setns,
    SYS_unshare,
    // Files by handle, past all directories.
    SYS_open_by_handle_at,
    // The kernel and the machine.
    SYS_bpf,
    SYS_perf_event_open,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    SYS_syslog,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_personality,
    SYS_userfaultfd,
    SYS_fanotify_init,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
#if defined(__x86_64__)
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
#endif
    // Calls that are newer than some headers, and have one number on every architecture: open_tree, move_mount, fsopen,
    // fsconfig, fsmount, fspick, pidfd_getfd, mount_setattr, quotactl_fd, open_tree_attr.
    428, 429, 430, 431, 432, 433, 438, 442, 443, 467,
};

#define COUNT (sizeof refused / sizeof *refused)

int clinux_refuse_calls(void) {
#ifdef ARCHITECTURE
  // Jumps count from the next instruction on, up to 255.
  _Static_assert(COUNT < 250, "too many calls for the jumps of a filter");
  struct sock_filter code[COUNT + 6];
  unsigned short end = 0;
  const unsigned short last = COUNT + 5;
  code[end++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
  code[end] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 0, last - end - 1);
  end++;
  code[end++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
#ifdef FIRST_FOREIGN
  code[end] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST_FOREIGN, last - end - 1, 0);
#else
  code[end] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, 0, 0, 0);
#endif
  end++;
  for (unsigned i = 0; i < COUNT; i++, end++) {
    code[end] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused[i], last - end - 1, 0);
  }
  code[end++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  code[end++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  struct sock_fprog program = {.len = end, .filter = code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1) return -1;
  // A filter that is no sandbox for strangers' code needs no slower memory against Spectre.
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
#else
  errno = ENOSYS;
  return -1;
#endif
}
