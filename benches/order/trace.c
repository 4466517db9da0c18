/* Lists the functions that a program and its children call, in the order of their first calls.
 *
 *   trace ADDRESSES OUT PROGRAM [ARGUMENT…]
 *
 * ADDRESSES has one in hexadecimal per line, as nm prints those of a program that is not relocated; OUT gets those that were
 * called. Each function begins with a breakpoint, which goes with the first call, so that the program runs as fast as always.
 * Processes that execute another program are let go. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BREAKPOINT = 0xcc, FUNCTIONS_MAX = 1 << 18 };

static struct function { unsigned long address; unsigned char byte, is_called; } functions[FUNCTIONS_MAX];
static size_t count;
static struct stat program;
static FILE *out;

static void fail(const char *what) { perror(what); exit(1); }

static int compare(const void *a, const void *b) {
  unsigned long x = ((const struct function *)a)->address, y = ((const struct function *)b)->address;
  return (x > y) - (x < y);
}

static void read_addresses(const char *path) {
  FILE *list = fopen(path, "re");
  if (!list) fail(path);
  while (count < FUNCTIONS_MAX && fscanf(list, "%lx", &functions[count].address) == 1) count++;
  fclose(list);
  qsort(functions, count, sizeof *functions, compare);
}

static int open_memory(int pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/mem", pid);
  return open(path, O_RDWR | O_CLOEXEC);
}

/* Sets all breakpoints in a process that has just executed a program; returns whether it is the one. */
static int set_breakpoints(int pid) {
  char path[64];
  struct stat exe;
  snprintf(path, sizeof path, "/proc/%d/exe", pid);
  if (stat(path, &exe) || exe.st_ino != program.st_ino || exe.st_dev != program.st_dev || !count) return 0;
  unsigned long first = functions[0].address, size = functions[count - 1].address + 1 - first;
  unsigned char *text = malloc(size);
  int memory = open_memory(pid);
  if (!text || pread(memory, text, size, first) != (ssize_t)size) fail("read the program");
  for (size_t i = 0; i < count; i++) {
    functions[i].byte = text[functions[i].address - first];
    text[functions[i].address - first] = BREAKPOINT;
  }
  if (pwrite(memory, text, size, first) != (ssize_t)size) fail("set breakpoints");
  close(memory);
  free(text);
  return 1;
}

/* Takes a breakpoint away, and lets the function begin; returns whether there was one. */
static int pass_breakpoint(int pid) {
  struct user_regs_struct registers;
  if (ptrace(PTRACE_GETREGS, pid, 0, &registers)) return 0;
  struct function key = { .address = registers.rip - 1 };
  struct function *found = bsearch(&key, functions, count, sizeof *functions, compare);
  if (!found) return 0;
  if (!found->is_called) fprintf(out, "%lx\n", found->address);
  found->is_called = 1;
  int memory = open_memory(pid);
  if (pwrite(memory, &found->byte, 1, found->address) != 1) fail("take a breakpoint away");
  close(memory);
  registers.rip = found->address;
  if (ptrace(PTRACE_SETREGS, pid, 0, &registers)) fail("go back");
  return 1;
}

/* Lets a process go on that has stopped, with a signal if it has one. */
static void go_on(int pid, int status) {
  int signal = WSTOPSIG(status), event = status >> 16;
  if (event == PTRACE_EVENT_EXEC) {
    ptrace(set_breakpoints(pid) ? PTRACE_CONT : PTRACE_DETACH, pid, 0, 0);
    return;
  }
  /* A new process begins with SIGSTOP. */
  if (event || signal == SIGSTOP || (signal == SIGTRAP && pass_breakpoint(pid))) signal = 0;
  ptrace(PTRACE_CONT, pid, 0, signal);
}

int main(int argc, char **argv) {
  int status;
  if (argc < 4) return 2;
  read_addresses(argv[1]);
  out = fopen(argv[2], "ae");
  if (!out) fail(argv[2]);
  if (stat(argv[3], &program)) fail(argv[3]);
  int pid = fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    raise(SIGSTOP);
    execv(argv[3], argv + 3);
    fail(argv[3]);
  }
  long options = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;
  if (waitpid(pid, &status, WUNTRACED) != pid || ptrace(PTRACE_SEIZE, pid, 0, options)) fail("trace");
  kill(pid, SIGCONT);
  /* To the end of the last one: without us a breakpoint would be its end. */
  for (int one; (one = waitpid(-1, &status, __WALL)) > 0;)
    if (WIFSTOPPED(status)) go_on(one, status);
  return 0;
}
