/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/config.h"

#include "shim/base/clock.h"
#include "shim/base/limits.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { STRING, BOOL, INT, UINT, DURATION };

struct option {
	const char *flag;
	enum kind kind;
	size_t offset;
	const char *fallback;
	const char *help;
};

static const struct option options[] = {
#define OPTION_ROW(flag, field, kind, fallback, help)                                              \
	{flag, kind, offsetof(struct config, field), fallback, help},
	SERVE_OPTIONS(OPTION_ROW)
#undef OPTION_ROW
};

static const struct {
	const char *flag;
	bool is_bool;
} ignored_options[] = {
#define IGNORED_ROW(flag, is_bool) {flag, is_bool},
	IGNORED_OPTIONS(IGNORED_ROW)
#undef IGNORED_ROW
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

__attribute__((format(printf, 2, 3))) static bool fail(char *problem, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(problem, CONFIG_PROBLEM_BYTES, format, args);
	va_end(args);
	return false;
}

static const struct option *find_option(const char *flag)
{
	for (size_t i = 0; i < COUNT(options); i++) {
		if (!strcmp(options[i].flag, flag))
			return &options[i];
	}
	return NULL;
}

/* Index of an accepted option without meaning here, -1 when it is not one. */
static int find_ignored(const char *flag)
{
	for (size_t i = 0; i < COUNT(ignored_options); i++) {
		if (!strcmp(ignored_options[i].flag, flag))
			return (int)i;
	}
	return -1;
}

static void note_ignored(struct config *config, const char *flag)
{
	size_t used = strlen(config->ignored);

	snprintf(config->ignored + used, sizeof config->ignored - used, "%s%s", used ? "," : "",
		 flag);
}

/* --- values ----------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint64_t ns;
} duration_units[] = {
	{"ns", 1},
	{"us", 1000},
	{"\xc2\xb5s", 1000}, /* the micro sign, */
	{"\xce\xbcs", 1000}, /* and the Greek letter */
	{"ms", 1000000},
	{"s", UINT64_C(1000000000)},
	{"m", UINT64_C(60000000000)},
	{"h", UINT64_C(3600000000000)},
};

/* Digits, perhaps with a point among them; moves *text behind them. */
struct decimal {
	uint64_t whole;
	uint64_t fraction;
	double scale; /* what the fraction is to be divided by */
};

static bool decimal_take(const char **text, struct decimal *ret_decimal)
{
	struct decimal decimal = {.scale = 1};
	const char *at = *text;
	size_t digits = 0;

	for (; isdigit((unsigned char)*at); at++, digits++) {
		if (__builtin_mul_overflow(decimal.whole, 10, &decimal.whole) ||
		    __builtin_add_overflow(decimal.whole, (uint64_t)(*at - '0'), &decimal.whole))
			return false;
	}
	if (*at == '.') {
		for (at++; isdigit((unsigned char)*at); at++, digits++) {
			if (decimal.scale > 1e17)
				continue; /* less than a nanosecond */
			decimal.fraction = decimal.fraction * 10 + (uint64_t)(*at - '0');
			decimal.scale *= 10;
		}
	}
	*text = at;
	*ret_decimal = decimal;
	return digits > 0;
}

/* One "1.5h" of a duration; moves *text behind it. */
static bool duration_part(const char **text, uint64_t *total_ns)
{
	struct decimal number;
	size_t length = 0;

	if (!decimal_take(text, &number))
		return false;
	while ((*text)[length] && !isdigit((unsigned char)(*text)[length]) &&
	       (*text)[length] != '.')
		length++;
	for (size_t i = 0; i < COUNT(duration_units); i++) {
		uint64_t ns = duration_units[i].ns;

		if (strlen(duration_units[i].name) != length ||
		    memcmp(*text, duration_units[i].name, length) != 0)
			continue;
		*text += length;
		return !__builtin_mul_overflow(number.whole, ns, &number.whole) &&
		       !__builtin_add_overflow(
			       number.whole,
			       (uint64_t)((double)number.fraction * ((double)ns / number.scale)),
			       &number.whole) &&
		       !__builtin_add_overflow(*total_ns, number.whole, total_ns);
	}
	return false;
}

bool duration_parse(const char *text, int64_t *ret_ns)
{
	uint64_t total_ns = 0;
	bool negative = *text == '-';

	if (*text == '-' || *text == '+')
		text++;
	if (!strcmp(text, "0")) {
		*ret_ns = 0;
		return true;
	}
	if (!*text)
		return false;
	while (*text) {
		if (!duration_part(&text, &total_ns))
			return false;
	}
	if (total_ns > INT64_MAX)
		return false;
	*ret_ns = negative ? -(int64_t)total_ns : (int64_t)total_ns;
	return true;
}

/* The words Go's strconv.ParseBool takes. */
static bool bool_parse(const char *text, bool *ret_value)
{
	static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
	static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};

	for (size_t i = 0; i < COUNT(yes); i++) {
		if (!strcmp(text, yes[i])) {
			*ret_value = true;
			return true;
		}
		if (!strcmp(text, no[i])) {
			*ret_value = false;
			return true;
		}
	}
	return false;
}

static bool int_parse(const char *text, int64_t least, int64_t most, int64_t *ret_value)
{
	char *end;
	long long value;

	if (isspace((unsigned char)*text))
		return false;
	errno = 0;
	value = strtoll(text, &end, 0);
	if (errno || end == text || *end || value < least || value > most)
		return false;
	*ret_value = value;
	return true;
}

static bool set_value(struct config *config, const struct option *option, const char *value,
		      char *problem)
{
	void *field = (char *)config + option->offset;
	int64_t number;
	char *copy;

	switch (option->kind) {
	case STRING:
		copy = strdup(value);
		if (!copy)
			return fail(problem, "out of memory");
		free(*(char **)field);
		*(char **)field = copy;
		return true;
	case BOOL:
		if (!bool_parse(value, field))
			return fail(problem, "--%s=%s: say true or false", option->flag, value);
		return true;
	case INT:
		if (!int_parse(value, INT64_MIN, INT64_MAX, field))
			return fail(problem, "--%s=%s: not a whole number", option->flag, value);
		return true;
	case UINT:
		if (!int_parse(value, 0, UINT32_MAX, &number))
			return fail(problem, "--%s=%s: say a whole number from 0 to 4294967295",
				    option->flag, value);
		*(uint32_t *)field = (uint32_t)number;
		return true;
	case DURATION:
		/* A bare number is nanoseconds, as in etcd's configuration file. */
		if (!duration_parse(value, field) && !int_parse(value, 0, INT64_MAX, field))
			return fail(problem, "--%s=%s: say a time such as 5s, 10m or 2h",
				    option->flag, value);
		return true;
	}
	return false;
}

bool config_set(struct config *config, const char *flag, const char *value,
		char problem[CONFIG_PROBLEM_BYTES])
{
	const struct option *option = find_option(flag);

	if (option) {
		config->listen_was_set |= !strcmp(flag, "listen-client-urls");
		config->advertise_was_set |= !strcmp(flag, "advertise-client-urls");
		return set_value(config, option, value, problem);
	}
	if (find_ignored(flag) < 0)
		return fail(problem, "unknown option \"%s\"; kedge serve --help lists all", flag);
	note_ignored(config, flag);
	return true;
}

bool config_init(struct config *config)
{
	char problem[CONFIG_PROBLEM_BYTES];

	memset(config, 0, sizeof *config);
	for (size_t i = 0; i < COUNT(options); i++) {
		if (!set_value(config, &options[i], options[i].fallback, problem)) {
			config_fini(config);
			return false;
		}
	}
	return true;
}

void config_fini(struct config *config)
{
	for (size_t i = 0; i < COUNT(options); i++) {
		if (options[i].kind == STRING) {
			char **field = (char **)(void *)((char *)config + options[i].offset);

			free(*field);
			*field = NULL;
		}
	}
}

/* --- flags and variables ---------------------------------------------------------------------- */

struct flags_seen {
	bool options[COUNT(options)];
};

/* Consumes args[*index] and its value, if it has one. */
static bool take_flag(struct config *config, struct flags_seen *seen, int arg_count,
		      char *const *args, int *index, char *problem)
{
	const char *arg = args[*index];
	const char *value = strchr(arg, '=');
	char flag[80];
	const struct option *option;
	int ignored;
	bool is_bool;

	if (arg[0] != '-' || !arg[1] || !strcmp(arg, "--"))
		return fail(problem, "\"%s\" is not a valid flag; flags look like --data-dir=DIR",
			    arg);
	arg += arg[1] == '-' ? 2 : 1;
	snprintf(flag, sizeof flag, "%.*s", value ? (int)(value - arg) : (int)sizeof flag - 1, arg);
	if (!strcmp(flag, "help") || !strcmp(flag, "h") || !strcmp(flag, "version")) {
		config->show_version |= !strcmp(flag, "version");
		config->show_help |= strcmp(flag, "version") != 0;
		return true;
	}
	option = find_option(flag);
	ignored = find_ignored(flag);
	if (!option && ignored < 0)
		return fail(problem,
			    "flag provided but not defined: -%s; kedge serve --help lists all",
			    flag);
	is_bool = option ? option->kind == BOOL : ignored_options[ignored].is_bool;
	if (value)
		value++;
	else if (is_bool)
		value = "true";
	else if (*index + 1 < arg_count)
		value = args[++*index];
	else
		return fail(problem, "flag needs an argument: -%s", flag);
	if (option)
		seen->options[option - options] = true;
	return config_set(config, flag, value, problem);
}

static void variable_name(const char *flag, char *name, size_t size)
{
	size_t used = (size_t)snprintf(name, size, "ETCD_");

	for (; *flag && used + 1 < size; flag++)
		name[used++] = *flag == '-' ? '_' : (char)toupper((unsigned char)*flag);
	name[used] = 0;
}

static const char *environment_find(char *const *environment, const char *name)
{
	size_t length = strlen(name);

	for (; environment && *environment; environment++) {
		if (!strncmp(*environment, name, length) && (*environment)[length] == '=')
			return *environment + length + 1;
	}
	return NULL;
}

static bool load_environment(struct config *config, const struct flags_seen *seen,
			     char *const *environment, char *problem)
{
	char name[96];
	const char *value;

	for (size_t i = 0; i < COUNT(options); i++) {
		variable_name(options[i].flag, name, sizeof name);
		value = environment_find(environment, name);
		if (value && *value && !seen->options[i] &&
		    !config_set(config, options[i].flag, value, problem))
			return false;
	}
	for (size_t i = 0; i < COUNT(ignored_options); i++) {
		variable_name(ignored_options[i].flag, name, sizeof name);
		value = environment_find(environment, name);
		if (value && *value && !config_set(config, ignored_options[i].flag, value, problem))
			return false;
	}
	return true;
}

/* As etcd: nothing above 0 means the default, and less than the minimum means the minimum. */
static void adjust_progress_interval(struct config *config)
{
	if (config->watch_progress_interval_ns <= 0)
		config->watch_progress_interval_ns = WATCH_PROGRESS_DEFAULT_NS;
	if (config->watch_progress_interval_ns < WATCH_PROGRESS_MIN_NS) {
		config->watch_progress_interval_ns = WATCH_PROGRESS_MIN_NS;
		config->watch_progress_raised = true;
	}
}

/* etcd's rules on what goes together. */
static bool check(struct config *config, char *problem)
{
	adjust_progress_interval(config);
	if (config->listen_was_set && !config->advertise_was_set)
		return fail(problem,
			    "--advertise-client-urls is required when --listen-client-urls "
			    "is set explicitly: say the URLs that clients can reach");
	if (!config->listen_client_urls[0])
		return fail(problem, "--listen-client-urls is empty: say at least one URL");
	if (strcmp(config->auto_compaction_mode, "periodic") != 0 &&
	    strcmp(config->auto_compaction_mode, "revision") != 0)
		return fail(problem, "--auto-compaction-mode=%s: say periodic or revision",
			    config->auto_compaction_mode);
	if (!config->max_txn_ops || !config->max_request_bytes)
		return fail(problem, "--max-txn-ops and --max-request-bytes must be above 0");
	if (!config->cert_file[0] != !config->key_file[0])
		return fail(problem, "--cert-file and --key-file go together: set both or neither");
	if (!config->data_dir[0]) {
		char folder[256];

		snprintf(folder, sizeof folder, "%s.kedge", config->name);
		return config_set(config, "data-dir", folder, problem);
	}
	return true;
}

bool config_load(struct config *config, int arg_count, char *const *args, char *const *environment,
		 char problem[CONFIG_PROBLEM_BYTES])
{
	struct flags_seen seen = {{false}};
	const char *file;

	for (int i = 0; i < arg_count; i++) {
		if (!take_flag(config, &seen, arg_count, args, &i, problem))
			return false;
	}
	if (config->show_help || config->show_version)
		return true;
	file = config->config_file[0] ? config->config_file
				      : environment_find(environment, "ETCD_CONFIG_FILE");
	if (file && *file) {
		char *path = strdup(file);
		bool ok = path != NULL;

		config_fini(config);
		ok = ok && config_init(config) && config_load_file(config, path, problem);
		free(path);
		if (!ok)
			return false;
	} else if (!load_environment(config, &seen, environment, problem)) {
		return false;
	}
	return check(config, problem);
}

void config_print_help(const char *program)
{
	printf("Usage:\n  %s serve [flags]\n\nServes the etcd v3 API from a folder on this machine."
	       "\nEvery flag is also a variable: --data-dir is ETCD_DATA_DIR.\n\nFlags:\n",
	       program);
	for (size_t i = 0; i < COUNT(options); i++)
		printf("  --%s '%s'\n    %s\n", options[i].flag, options[i].fallback,
		       options[i].help);
	printf("\nAccepted for etcd's sake and without effect (kedge has no raft peers):\n");
	for (size_t i = 0; i < COUNT(ignored_options); i++)
		printf("  --%s\n", ignored_options[i].flag);
}
