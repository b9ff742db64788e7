/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/snapshot_verb.h"

#include "shim/serve.h"
#include "shim/store/store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct snapshot_args {
	const char *file;
	const char *data_dir;
	int64_t bump_revision;
	bool json;
};

static int usage(FILE *out, int status)
{
	fprintf(out, "Usage:\n"
		     "  kedge snapshot save FILE --data-dir DIR\n"
		     "      Copies the data of DIR, whose kedge may be running, into FILE.\n"
		     "      From another machine: etcdctl --endpoints URL snapshot save FILE\n"
		     "  kedge snapshot restore FILE --data-dir NEWDIR [--bump-revision N]\n"
		     "      Makes the new data folder NEWDIR from FILE.  It gets an identity of "
		     "its own and\n"
		     "      its revision moves forward by N (1000000000), so that clients notice.\n"
		     "  kedge snapshot status FILE [--write-out json]\n"
		     "      Checks FILE and tells its revision, keys and size.\n");
	return status;
}

/* Takes "--flag value" or "--flag=value"; NULL when args[*i] is another flag. */
static const char *flag_value(int count, char **args, int *i, const char *flag)
{
	size_t length = strlen(flag);
	const char *arg = args[*i];

	assert(arg); /* main's arguments are whole */
	if (strncmp(arg, flag, length) != 0)
		return NULL;
	if (arg[length] == '=')
		return arg + length + 1;
	if (!arg[length] && *i + 1 < count)
		return args[++*i];
	return NULL;
}

static bool parse_number(const char *text, int64_t *ret_number)
{
	char *end;
	long long number;

	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno || end == text || *end || number < 0)
		return false;
	*ret_number = number;
	return true;
}

static bool parse(int count, char **args, struct snapshot_args *parsed)
{
	for (int i = 0; i < count; i++) {
		const char *value, *arg = args[i];

		if ((value = flag_value(count, args, &i, "--data-dir"))) {
			parsed->data_dir = value;
		} else if ((value = flag_value(count, args, &i, "--bump-revision"))) {
			if (!parse_number(value, &parsed->bump_revision)) {
				fprintf(stderr, "--bump-revision=%s: say a count of revisions\n",
					value);
				return false;
			}
		} else if ((value = flag_value(count, args, &i, "--write-out"))) {
			parsed->json = !strcmp(value, "json");
		} else if (arg[0] != '-' && !parsed->file) {
			parsed->file = arg;
		} else {
			fprintf(stderr, "kedge snapshot: \"%s\" is not understood\n", arg);
			return false;
		}
	}
	return true;
}

static int finish(enum err e, const char *problem)
{
	if (!e)
		return EXIT_OK;
	fprintf(stderr, "kedge snapshot: %s\n", problem[0] ? problem : err_text(e));
	return EXIT_FAILED;
}

static int save(const struct snapshot_args *args)
{
	char problem[STORE_PROBLEM_BYTES] = "";
	enum err e = store_snapshot_save(args->data_dir, args->file, problem);

	if (!e)
		printf("Snapshot saved at %s\n", args->file);
	return finish(e, problem);
}

static int restore(const struct snapshot_args *args)
{
	char problem[STORE_PROBLEM_BYTES] = "";
	enum err e =
		store_snapshot_restore(args->file, args->data_dir, args->bump_revision, problem);

	if (!e)
		printf("Restored %s into %s\nStart it with: kedge serve --data-dir %s\n",
		       args->file, args->data_dir, args->data_dir);
	return finish(e, problem);
}

static int status(const struct snapshot_args *args)
{
	char problem[STORE_PROBLEM_BYTES] = "";
	struct snapshot_status found;
	enum err e = store_snapshot_status(args->file, &found, problem);

	if (e)
		return finish(e, problem);
	if (args->json)
		printf("{\"hash\":%u,\"revision\":%lld,\"totalKey\":%lld,\"totalSize\":%lld}\n",
		       found.hash, (long long)found.revision, (long long)found.total_keys,
		       (long long)found.total_bytes);
	else
		printf("hash %08x, revision %lld, %lld keys, %lld bytes\n", found.hash,
		       (long long)found.revision, (long long)found.total_keys,
		       (long long)found.total_bytes);
	return EXIT_OK;
}

int snapshot_main(int arg_count, char **args)
{
	struct snapshot_args parsed = {0};
	const char *verb = arg_count > 0 ? args[0] : "";

	if (!strcmp(verb, "--help") || !strcmp(verb, "-h"))
		return usage(stdout, EXIT_OK);
	if (arg_count < 1 || !parse(arg_count - 1, args + 1, &parsed))
		return usage(stderr, EXIT_USAGE);
	if (!strcmp(verb, "save") && parsed.file && parsed.data_dir)
		return save(&parsed);
	if (!strcmp(verb, "restore") && parsed.file && parsed.data_dir)
		return restore(&parsed);
	if (!strcmp(verb, "status") && parsed.file)
		return status(&parsed);
	return usage(stderr, EXIT_USAGE);
}
