/* What libseccomp makes of rules, for the test that compares our compiler with it.
 *
 * Reads lines of numbers and names separated by blanks, and answers each "end" with the length of the program in a line of
 * its own and the program, or with the line "0" if libseccomp refuses a rule:
 *
 *   filter DEFAULT BADARCH     begins, with what happens to other calls, and to those of other architectures
 *   arch NAME                  adds one to the native one
 *   rule ACTION NAME COUNT (ARGUMENT OPERATOR A B)...
 *   end
 *
 * Actions are SECCOMP_RET_* with their data, which is how libseccomp has them; calls that it does not know are passed over.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int add_rule(scmp_filter_ctx filter)
{
	struct scmp_arg_cmp conditions[6];
	unsigned int action, count;
	char name[64];
	int number;

	if (scanf("%u %63s %u", &action, name, &count) != 3 || count > 6)
		die("a rule");
	for (unsigned int i = 0; i < count; i++) {
		unsigned int argument, operator;
		unsigned long long a, b;
		if (scanf("%u %u %llu %llu", &argument, &operator, &a, &b) != 4)
			die("a condition");
		conditions[i] = (struct scmp_arg_cmp){ argument, operator, a, b };
	}
	number = seccomp_syscall_resolve_name(name);
	if (number == __NR_SCMP_ERROR)
		return 0;
	return seccomp_rule_add_array(filter, action, number, count, conditions);
}

static void answer(scmp_filter_ctx filter)
{
	char program[4096 * 8];
	int file = memfd_create("program", 0);
	ssize_t length;

	if (file < 0 || seccomp_export_bpf(filter, file) < 0)
		die("export the program");
	length = pread(file, program, sizeof program, 0);
	if (length < 0 || close(file) < 0)
		die("read the program");
	printf("%zd\n", length);
	fwrite(program, 1, length, stdout);
}

int main(void)
{
	scmp_filter_ctx filter = NULL;
	char word[64];
	int refused = 0;

	while (scanf("%63s", word) == 1) {
		if (!strcmp(word, "filter")) {
			unsigned int otherwise, foreign;
			if (scanf("%u %u", &otherwise, &foreign) != 2)
				die("a filter");
			seccomp_release(filter);
			filter = seccomp_init(otherwise);
			if (!filter || seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, foreign) < 0)
				die("begin");
			refused = 0;
		} else if (!strcmp(word, "arch")) {
			int error;
			if (scanf("%63s", word) != 1)
				die("an architecture");
			error = seccomp_arch_add(filter, seccomp_arch_resolve_name(word));
			if (error < 0 && error != -EEXIST)
				die("add an architecture");
		} else if (!strcmp(word, "rule")) {
			refused |= add_rule(filter) < 0;
		} else {
			if (refused)
				printf("0\n");
			else
				answer(filter);
			fflush(stdout);
		}
	}
	return 0;
}
