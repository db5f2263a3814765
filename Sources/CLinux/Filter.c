// Makes a seccomp filter of a list of system calls. A call whose arguments do not matter costs next to nothing since Linux
// 5.11, which remembers its number. Before, the filter is run each time: the calls of which every request has some come first,
// and the rest is found by halving.
#define _GNU_SOURCE
#include "Filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
// From here on there are the numbers of another calling convention (x32).
#define FIRST_FOREIGN 0x40000000u
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "which system calls this architecture has is not known"
#endif

// More than any list takes.
struct program {
  unsigned count;
  struct sock_filter code[1200];
};

// What does not fit is counted, and the program is then not used.
static void emit(struct program *program, uint16_t code, uint8_t if_true, uint8_t if_false, uint32_t value) {
  const unsigned place = program->count++;
  if (place >= sizeof program->code / sizeof *program->code) return;
  program->code[place] = (struct sock_filter)BPF_JUMP(code, value, if_true, if_false);
}

static void load(struct program *program, size_t offset) {
  emit(program, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void answer(struct program *program, uint32_t action) { emit(program, BPF_RET | BPF_K, 0, 0, action); }

static void refuse(struct program *program, int error) { answer(program, SECCOMP_RET_ERRNO | (uint32_t)error); }

// Instructions of a condition.
static unsigned length(const struct condition *test) { return test->mask == ~0u ? 2 : 3; }

// Goes on where the condition holds, else behind the last of those that must hold together, and the answer there.
static void emit_condition(struct program *program, const struct condition *test) {
  unsigned skip = 1;
  for (const struct condition *rest = test; !rest->ends; rest++) skip += length(rest + 1);
  // Both architectures are little-endian.
  load(program, offsetof(struct seccomp_data, args) + 8u * test->argument + (test->is_high ? 4 : 0));
  if (test->mask != ~0u) emit(program, BPF_ALU | BPF_AND | BPF_K, 0, 0, test->mask);
  const uint32_t value = test->is_own_process ? (uint32_t)getpid() : test->value;
  emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, (uint8_t)skip, value);
}

// The answer to one call whose number has been looked at.
static void emit_answer(struct program *program, const struct entry *entry) {
  if (entry->error) {
    refuse(program, entry->error);
    return;
  }
  for (unsigned i = 0; entry->conditions && i < entry->conditions->count; i++) {
    const struct condition *test = &entry->conditions->tests[i];
    emit_condition(program, test);
    if (test->ends) answer(program, SECCOMP_RET_ALLOW);
  }
  if (entry->conditions) {
    refuse(program, EPERM);
  } else {
    answer(program, SECCOMP_RET_ALLOW);
  }
}

// The instructions that emit_answer makes.
static unsigned answer_length(const struct entry *entry) {
  struct program program = {.count = 0};
  emit_answer(&program, entry);
  return program.count;
}

static int is_plain(const struct entry *entry) { return !entry->conditions && !entry->error; }

// Entries from `first` on that are numbers in a row, all without conditions; at least 1.
static unsigned run(const struct entry *first, const struct entry *end) {
  const struct entry *next = first + 1;
  if (!is_plain(first)) return 1;
  while (next < end && is_plain(next) && next->number == next[-1].number + 1) next++;
  return (unsigned)(next - first);
}

// Finds the number, which has been loaded, among sorted entries.
static void emit_search(struct program *program, const struct entry *entries, const struct entry *end) {
  enum { FEW = 4 };
  if (end - entries > FEW) {
    const struct entry *middle = entries + (end - entries) / 2;
    // Jumps with a condition reach 255 instructions only.
    emit(program, BPF_JMP | BPF_JGE | BPF_K, 0, 1, middle->number);
    const unsigned jump = program->count;
    emit(program, BPF_JMP | BPF_JA, 0, 0, 0);
    emit_search(program, entries, middle);
    if (jump < sizeof program->code / sizeof *program->code) program->code[jump].k = program->count - jump - 1;
    emit_search(program, middle, end);
    return;
  }
  while (entries < end) {
    const unsigned count = run(entries, end);
    const uint8_t skip = (uint8_t)answer_length(entries);
    if (count == 1) {
      emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, skip, entries->number);
    } else {
      emit(program, BPF_JMP | BPF_JGE | BPF_K, 0, skip + 1, entries->number);
      emit(program, BPF_JMP | BPF_JGT | BPF_K, skip, 0, entries[count - 1].number);
    }
    emit_answer(program, entries);
    entries += count;
  }
  refuse(program, EPERM);
}

static void sort(struct entry *entries, unsigned count) {
  for (unsigned i = 1; i < count; i++) {
    const struct entry entry = entries[i];
    unsigned place = i;
    for (; place > 0 && entries[place - 1].number > entry.number; place--) entries[place] = entries[place - 1];
    entries[place] = entry;
  }
}

int install_filter(struct entry *entries, unsigned count, const unsigned *hot, unsigned hot_count) {
  struct program program = {.count = 0};
  sort(entries, count);
  load(&program, offsetof(struct seccomp_data, arch));
  emit(&program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCHITECTURE);
  answer(&program, SECCOMP_RET_KILL_PROCESS);
  load(&program, offsetof(struct seccomp_data, nr));
#ifdef FIRST_FOREIGN
  emit(&program, BPF_JMP | BPF_JGE | BPF_K, 0, 1, FIRST_FOREIGN);
  answer(&program, SECCOMP_RET_KILL_PROCESS);
#endif
  for (unsigned i = 0; i < hot_count; i++) {
    for (unsigned j = 0; j < count; j++) {
      if (entries[j].number != hot[i]) continue;
      emit(&program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, hot[i]);
      answer(&program, SECCOMP_RET_ALLOW);
    }
  }
  emit_search(&program, entries, entries + count);
  if (program.count > sizeof program.code / sizeof *program.code) {
    errno = E2BIG;
    return -1;
  }
  struct sock_fprog filter = {.len = (unsigned short)program.count, .filter = program.code};
  // A filter that no stranger's code asked for needs no slower memory against Spectre.
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter);
}
