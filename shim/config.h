/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - the options of `kedge serve`, from flags, ETCD_* variables or a YAML file.
 *
 * As etcd: a flag wins over its variable; with --config-file the file alone counts.  Flags may
 * begin with one or two dashes, take "=value" or the next argument; a bool never takes the next
 * argument.
 * Ownership: config_init() .. config_fini(); strings belong to the config.
 * Errors: a problem text that names the option, what is wrong and what would be right. */
#ifndef SHIM_CONFIG_H
#define SHIM_CONFIG_H

#include "shim/options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_PROBLEM_BYTES 512

#define CONFIG_TYPE_STRING char *
#define CONFIG_TYPE_BOOL bool
#define CONFIG_TYPE_INT int64_t
#define CONFIG_TYPE_UINT uint32_t
#define CONFIG_TYPE_DURATION int64_t

struct config {
#define CONFIG_FIELD(flag, field, kind, fallback, help) CONFIG_TYPE_##kind field;
	SERVE_OPTIONS(CONFIG_FIELD)
#undef CONFIG_FIELD
	bool show_help;
	bool show_version;
	bool advertise_was_set;
	bool listen_was_set;
	bool watch_progress_raised; /* --watch-progress-notify-interval was below the minimum */
	char ignored[1024]; /* names of accepted options without a meaning here, for the log */
};

bool config_init(struct config *config); /* defaults; false: out of memory */
void config_fini(struct config *config);

/* args are those after `serve`; environment is environ. */
bool config_load(struct config *config, int arg_count, char *const *args, char *const *environment,
		 char problem[CONFIG_PROBLEM_BYTES]);

/* One option by its flag name, for the file reader. */
bool config_set(struct config *config, const char *flag, const char *value,
		char problem[CONFIG_PROBLEM_BYTES]);
bool config_load_file(struct config *config, const char *path, char problem[CONFIG_PROBLEM_BYTES]);

/* Go's duration syntax: "1h30m", "100ms", "0"; false when it is not one. */
bool duration_parse(const char *text, int64_t *ret_ns);

void config_print_help(const char *program);

#endif
