/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - which verb; called as `etcd` the program is its server, as launchers expect. */
#include "shim/check_verb.h"
#include "shim/serve.h"
#include "shim/snapshot_verb.h"
#include "shim/version.h"

#include <stdio.h>
#include <string.h>

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int print_version(int arg_count, char **args)
{
	(void)arg_count;
	(void)args;
	version_print(false);
	return 0;
}

static int print_help(int arg_count, char **args);

static const struct {
	const char *word;
	int (*run)(int arg_count, char **args);
	const char *help;
} verbs[] = {
	{"serve", serve_main, "serve the etcd v3 API from a folder on this machine"},
	{"snapshot", snapshot_main, "save, restore or inspect a copy of the data"},
	{"check", check_main, "look for damage in a data folder"},
	{"repair", repair_main, "replace damaged rows from a snapshot"},
	{"version", print_version, "what this program is"},
	{"help", print_help, "this text"},
};

#define VERB_COUNT (sizeof verbs / sizeof *verbs)

static int print_help(int arg_count, char **args)
{
	(void)arg_count;
	(void)args;
	printf("kedge: the storage of Kubernetes at the edge; serves the etcd v3 API.\n\n"
	       "Usage: kedge VERB [flags]   (kedge VERB --help tells more)\n\n");
	for (size_t i = 0; i < VERB_COUNT; i++)
		printf("  %-10s %s\n", verbs[i].word, verbs[i].help);
	printf("\nTo start: kedge serve --data-dir DIR, then point kube-apiserver at it with\n"
	       "--etcd-servers=http://127.0.0.1:2379\n");
	return 0;
}

int main(int arg_count, char **args)
{
	if (!strcmp(base_name(args[0]), "etcd"))
		return serve_main(arg_count - 1, args + 1);
	if (arg_count < 2) {
		print_help(0, NULL);
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < VERB_COUNT; i++) {
		if (!strcmp(args[1], verbs[i].word))
			return verbs[i].run(arg_count - 2, args + 2);
	}
	if (!strcmp(args[1], "--version") || !strcmp(args[1], "-version"))
		return print_version(0, NULL);
	if (!strcmp(args[1], "--help") || !strcmp(args[1], "-h"))
		return print_help(0, NULL);
	fprintf(stderr, "kedge: unknown verb \"%s\"; kedge help lists them\n", args[1]);
	return EXIT_USAGE;
}
