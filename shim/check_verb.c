/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/check_verb.h"

#include "shim/serve.h"
#include "shim/store/check.h"

#include <string.h>

static int usage(FILE *out, int status)
{
	fprintf(out, "Usage:\n"
		     "  kedge check --data-dir DIR\n"
		     "      Reads and verifies all data of DIR, whose kedge may be running, and\n"
		     "      names what is damaged.  Exit status 0: all is sound; 4: it is not.\n"
		     "  kedge repair --data-dir DIR --from SNAPSHOT\n"
		     "      Replaces damaged rows by those of a snapshot, where only rows are\n"
		     "      damaged and all of them are in it.  The server must be stopped.\n");
	return status;
}

/* Takes "--flag value" or "--flag=value". */
static const char *flag_value(int count, char **args, int *i, const char *flag)
{
	size_t length = strlen(flag);
	const char *arg = args[*i];

	if (strncmp(arg, flag, length) != 0)
		return NULL;
	if (arg[length] == '=')
		return arg + length + 1;
	return !arg[length] && *i + 1 < count ? args[++*i] : NULL;
}

static int end(const char *verb, enum err e, const char *problem)
{
	if (!e)
		return EXIT_OK;
	fprintf(stderr, "kedge %s: %s\n", verb, problem);
	return e == ERR_DAMAGED ? EXIT_DAMAGED : EXIT_FAILED;
}

int check_main(int arg_count, char **args)
{
	struct check_report report = {.out = stdout};
	char problem[STORE_PROBLEM_BYTES];
	const char *data_dir = NULL;
	enum err e;

	for (int i = 0; i < arg_count; i++) {
		const char *value = flag_value(arg_count, args, &i, "--data-dir");

		if (!value)
			return usage(!strcmp(args[i], "--help") ? stdout : stderr,
				     !strcmp(args[i], "--help") ? EXIT_OK : EXIT_USAGE);
		data_dir = value;
	}
	if (!data_dir)
		return usage(stderr, EXIT_USAGE);
	e = store_check(data_dir, &report, problem);
	if (e == ERR_DAMAGED)
		fprintf(stderr,
			"kedge check: %s is damaged, %lld findings.  If only rows of the log are,"
			" `kedge repair` can take them from a snapshot; else restore one into a"
			" fresh --data-dir\n",
			data_dir, (long long)report.findings);
	if (e == ERR_DAMAGED)
		return EXIT_DAMAGED;
	if (!e)
		printf("%lld rows, all sound\n", (long long)report.rows);
	return end("check", e, problem);
}

int repair_main(int arg_count, char **args)
{
	struct check_report report = {.out = stdout};
	char problem[STORE_PROBLEM_BYTES];
	const char *data_dir = NULL, *from = NULL, *value;
	enum err e;

	for (int i = 0; i < arg_count; i++) {
		if ((value = flag_value(arg_count, args, &i, "--data-dir")))
			data_dir = value;
		else if ((value = flag_value(arg_count, args, &i, "--from")))
			from = value;
		else
			return usage(!strcmp(args[i], "--help") ? stdout : stderr,
				     !strcmp(args[i], "--help") ? EXIT_OK : EXIT_USAGE);
	}
	if (!data_dir || !from)
		return usage(stderr, EXIT_USAGE);
	e = store_repair(data_dir, from, &report, problem);
	if (!e)
		printf("%lld of %lld rows were damaged and are repaired; the old database is kept "
		       "as"
		       " kedge.db.damaged\n",
		       (long long)report.rows_repaired, (long long)report.rows);
	return end("repair", e, problem);
}
