/* SPDX-License-Identifier: Apache-2.0 */
/* Flags, ETCD_* variables, the configuration file, URLs and times.
 *
 * What must hold: the same options mean the same by whichever of the three ways they come; a time
 * is what Go's ParseDuration makes of it; a URL that was taken is taken again when it is written
 * out; what is refused is refused in words. */
#include "tests/fuzz/fuzz.h"

#include "shim/base/log.h"
#include "shim/compactor.h"
#include "shim/config.h"
#include "shim/net/url.h"
#include "shim/url_list.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TEXT_MAX 4096
#define PAIRS_MAX 8

static char folder[FUZZ_PATH_BYTES];
static char file_path[FUZZ_PATH_BYTES + 16];

static void folder_remove(void)
{
	fuzz_folder_remove(folder);
}

int LLVMFuzzerInitialize(int *arg_count, char ***args)
{
	(void)arg_count, (void)args;
	fuzz_folder_make(folder);
	snprintf(file_path, sizeof(file_path), "%s/kedge.yaml", folder);
	atexit(folder_remove);
	fuzz_quiet();
	return 0;
}

/* --- values ----------------------------------------------------------------------------------- */

/* What a config says, all options by name. */
static void config_write(const struct config *config, struct buffer *out)
{
#define WRITE_STRING(v) fuzz_must(buffer_append_format(out, "%s\n", v))
#define WRITE_BOOL(v) fuzz_must(buffer_append_format(out, "%d\n", v))
#define WRITE_INT(v) fuzz_must(buffer_append_format(out, "%lld\n", (long long)(v)))
#define WRITE_UINT(v) fuzz_must(buffer_append_format(out, "%u\n", v))
#define WRITE_DURATION(v) WRITE_INT(v)
#define WRITE_FIELD(flag, field, kind, fallback, help)                                             \
	fuzz_must(buffer_append_format(out, "%s=", flag));                                         \
	WRITE_##kind(config->field);
	SERVE_OPTIONS(WRITE_FIELD)
#undef WRITE_FIELD
}

static const char *const flags[] = {
#define FLAG_NAME(flag, field, kind, fallback, help) flag,
	SERVE_OPTIONS(FLAG_NAME)
#undef FLAG_NAME
#define IGNORED_NAME(flag, is_bool) flag,
		IGNORED_OPTIONS(IGNORED_NAME)
#undef IGNORED_NAME
};

#define FLAG_COUNT (sizeof(flags) / sizeof(flags[0]))

struct pair {
	const char *flag;
	char value[64];
};

struct pairs {
	struct pair pair[PAIRS_MAX];
	size_t count;
};

/* Printable values, never empty: an empty variable counts as not set, as an empty YAML value does,
 * and control characters would need YAML's escapes. */
static void value_take(struct fuzz_input *input, char value[64])
{
	static const char *const usual[] = {
		"true",	     "false", "0",	  "1",	      "10s", "1h30m",
		"TLS1.3",    "basic", "revision", "periodic", "-1",  "http://127.0.0.1:2379",
		"unix:///x", "error"};
	unsigned choice = fuzz_byte(input);
	struct bytes raw = fuzz_bytes(input, 40);

	if (choice < 128 || !raw.size) {
		snprintf(value, 64, "%s", usual[choice % (sizeof(usual) / sizeof(usual[0]))]);
		return;
	}
	for (size_t i = 0; i < raw.size; i++)
		value[i] = (char)(' ' + raw.data[i] % 95);
	value[raw.size] = 0;
}

static void pairs_take(struct fuzz_input *input, struct pairs *pairs)
{
	pairs->count = 0;
	while (pairs->count < PAIRS_MAX && fuzz_more(input)) {
		struct pair *pair = &pairs->pair[pairs->count];
		bool is_new = true;

		pair->flag = flags[fuzz_byte(input) % FLAG_COUNT];
		value_take(input, pair->value);
		for (size_t i = 0; i < pairs->count; i++)
			is_new = is_new && strcmp(pairs->pair[i].flag, pair->flag) != 0;
		if (is_new && strcmp(pair->flag, "config-file") != 0)
			pairs->count++;
	}
}

enum way { BY_FLAG, BY_VARIABLE, BY_FILE, WAYS };

/* "data-dir" and "x" as --data-dir=x, ETCD_DATA_DIR=x or data-dir: 'x'. */
static void pair_write(const struct pair *pair, enum way way, struct buffer *out)
{
	char name[96];
	size_t at = 0;

	for (; pair->flag[at]; at++)
		name[at] =
			pair->flag[at] == '-' ? '_' : (char)toupper((unsigned char)pair->flag[at]);
	name[at] = 0;
	if (way == BY_FLAG)
		fuzz_must(buffer_append_format(out, "--%s=%s", pair->flag, pair->value));
	else if (way == BY_VARIABLE)
		fuzz_must(buffer_append_format(out, "ETCD_%s=%s", name, pair->value));
	else
		fuzz_must(buffer_append_format(out, "%s: '", pair->flag));
	for (const char *c = pair->value; way == BY_FILE && *c; c++)
		fuzz_must(buffer_append(out, *c == '\'' ? BYTES_LITERAL("''") : bytes_of(c, 1)));
	if (way == BY_FILE)
		fuzz_must(buffer_append(out, BYTES_LITERAL("'\n")));
	else
		fuzz_must(buffer_append(out, bytes_of("", 1)));
}

/* Whether the options are taken, and what they say. */
static bool load_by(const struct pairs *pairs, enum way way, struct buffer *out)
{
	struct buffer text = BUFFER_INIT(TEXT_MAX * 4);
	char *list[PAIRS_MAX + 2] = {NULL}, *none[] = {NULL};
	char problem[CONFIG_PROBLEM_BYTES] = "";
	char from_file[FUZZ_PATH_BYTES + 64];
	size_t starts[PAIRS_MAX];
	struct config config;
	bool ok;

	for (size_t i = 0; i < pairs->count; i++) {
		starts[i] = text.size;
		pair_write(&pairs->pair[i], way, &text);
	}
	for (size_t i = 0; way != BY_FILE && i < pairs->count; i++)
		list[i] = (char *)text.data + BUFFER_HEADROOM + starts[i];
	if (way == BY_FILE) {
		fuzz_file_write(file_path, buffer_bytes(&text));
		snprintf(from_file, sizeof(from_file), "--config-file=%s", file_path);
		list[0] = from_file;
	}
	fuzz_must(config_init(&config));
	if (way == BY_VARIABLE)
		ok = config_load(&config, 0, none, list, problem);
	else
		ok = config_load(&config, way == BY_FILE ? 1 : (int)pairs->count, list, none,
				 problem);
	fuzz_must(ok || problem[0]);
	if (ok)
		config_write(&config, out);
	config_fini(&config);
	buffer_fini(&text);
	return ok;
}

static void fuzz_three_ways(struct fuzz_input *input)
{
	struct buffer said[WAYS];
	struct pairs pairs;
	bool ok[WAYS];

	pairs_take(input, &pairs);
	for (int way = 0; way < WAYS; way++) {
		said[way] = BUFFER_INIT(TEXT_MAX * 4);
		ok[way] = load_by(&pairs, (enum way)way, &said[way]);
	}
	for (int way = 1; way < WAYS; way++) {
		fuzz_must(ok[way] == ok[0]);
		fuzz_must(bytes_equal(buffer_bytes(&said[way]), buffer_bytes(&said[0])));
	}
	for (int way = 0; way < WAYS; way++)
		buffer_fini(&said[way]);
}

/* --- raw ------------------------------------------------------------------------------------- */

/* Strings, each ended by a NUL, as arguments and as variables. */
static void fuzz_arguments(struct fuzz_input *input)
{
	char *args[64], *environment[64] = {NULL}, *text;
	char problem[CONFIG_PROBLEM_BYTES] = "";
	int arg_count = 0, variables = 0;
	struct bytes rest;
	struct config config;

	rest = fuzz_rest(input);
	text = calloc(1, rest.size + 1);
	fuzz_must(text && config_init(&config));
	if (rest.size)
		memcpy(text, rest.data, rest.size);
	for (size_t at = 0; at < rest.size && arg_count < 63 && variables < 63;
	     at += strlen(text + at) + 1) {
		/* Not to read a file that happens to be there. */
		if (strstr(text + at, "config-file") || strstr(text + at, "CONFIG_FILE"))
			continue;
		if (!strncmp(text + at, "ETCD_", 5))
			environment[variables++] = text + at;
		else
			args[arg_count++] = text + at;
	}
	fuzz_must(config_load(&config, arg_count, args, environment, problem) || problem[0]);
	config_fini(&config);
	free(text);
}

static void fuzz_file(struct fuzz_input *input)
{
	char problem[CONFIG_PROBLEM_BYTES] = "";
	struct config config;

	fuzz_file_write(file_path, fuzz_rest(input));
	fuzz_must(config_init(&config));
	fuzz_must(config_load_file(&config, file_path, problem) || problem[0]);
	config_fini(&config);
}

static char *text_take(struct fuzz_input *input)
{
	struct bytes rest = fuzz_rest(input);
	char *text = calloc(1, rest.size + 1);

	fuzz_must(text);
	if (rest.size)
		memcpy(text, rest.data, rest.size);
	return text;
}

/* What was taken, written out in the one full form. */
static void url_write(const struct listen_url *url, char *out, size_t size)
{
	bool has_colon = strchr(url->host, ':');
	size_t used;

	if (url->is_unix) {
		snprintf(out, size, "unix%s://%s", url->is_secure ? "s" : "", url->path);
		return;
	}
	used = (size_t)snprintf(out, size, "http%s://%s", url->is_secure ? "s" : "",
				has_colon ? "[" : "");
	for (const char *c = url->host; *c; c++)
		used += (size_t)snprintf(out + used, size - used, *c == '%' ? "%%25" : "%c", *c);
	snprintf(out + used, size - used, "%s:%u", has_colon ? "]" : "", url->port);
}

/* The length of a host is limited as it is written: each % takes three characters in the full form,
 * where the first form may have had one. */
static bool host_is_written_out(const struct listen_url *url)
{
	size_t size = 0;

	for (const char *c = url->host; *c; c++)
		size += *c == '%' ? 3 : 1;
	return size < URL_HOST_BYTES;
}

static void fuzz_url(struct fuzz_input *input)
{
	char *text = text_take(input);
	char problem[128] = "", again[URL_HOST_BYTES * 4];
	struct listen_url url, second;

	if (url_parse(text, &url, problem, sizeof(problem))) {
		fuzz_must(problem[0]);
	} else {
		url_write(&url, again, sizeof(again));
		if (host_is_written_out(&url)) {
			fuzz_must_say(!url_parse(again, &second, problem, sizeof(problem)), again);
			fuzz_must_say(!memcmp(&url, &second, sizeof(url)), again);
		} else {
			fuzz_must_say(url_parse(again, &second, problem, sizeof(problem)), again);
		}
	}
	free(text);
}

static void fuzz_url_list(struct fuzz_input *input)
{
	char *text = text_take(input);
	struct url_list list;
	size_t count = 0;
	bool is_blank = true;

	for (const char *c = text;; c++) {
		if (*c && *c != ',') {
			is_blank = is_blank && isspace((unsigned char)*c);
			continue;
		}
		count += !is_blank;
		is_blank = true;
		if (!*c)
			break;
	}
	fuzz_must(url_list_init(&list, text) == (count <= URL_LIST_MAX));
	if (count <= URL_LIST_MAX)
		fuzz_must(list.count == count && !list.urls[count]);
	for (size_t i = 0; i < list.count; i++)
		fuzz_must(list.urls[i][0] && !strchr(list.urls[i], ',') &&
			  !isspace((unsigned char)list.urls[i][0]) &&
			  !isspace((unsigned char)list.urls[i][strlen(list.urls[i]) - 1]));
	url_list_fini(&list);
	free(text);
}

/* --- times ------------------------------------------------------------------------------------ */

/* The length of the number in front, as Go reads it; 0 when there is none. */
static size_t go_number(const char *text, long double *ret_number)
{
	long double number = 0, scale = 1;
	size_t digits = 0, at = 0;

	for (; isdigit((unsigned char)text[at]); at++, digits++)
		number = number * 10 + (text[at] - '0');
	if (text[at] == '.')
		for (at++; isdigit((unsigned char)text[at]); at++, digits++)
			number += (text[at] - '0') * (scale /= 10);
	*ret_number = number;
	return digits ? at : 0;
}

/* time.ParseDuration of Go, in long doubles. */
static bool go_duration(const char *text, long double *ret_ns)
{
	static const struct {
		const char *name;
		long double ns;
	} units[] = {{"ns", 1},	  {"us", 1e3}, {"\xc2\xb5s", 1e3}, {"\xce\xbcs", 1e3},
		     {"ms", 1e6}, {"s", 1e9},  {"m", 6e10},	   {"h", 3.6e12}};
	long double total = 0, number;
	bool is_negative = *text == '-';

	text += *text == '-' || *text == '+';
	*ret_ns = 0;
	if (!strcmp(text, "0"))
		return true;
	if (!*text)
		return false;
	while (*text) {
		size_t size = go_number(text, &number), unit = 0, i;

		if (!size)
			return false;
		text += size;
		while (text[unit] && text[unit] != '.' && !isdigit((unsigned char)text[unit]))
			unit++;
		for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
			if (strlen(units[i].name) == unit && !memcmp(units[i].name, text, unit))
				break;
		if (i == sizeof(units) / sizeof(units[0]))
			return false;
		total += number * units[i].ns;
		text += unit;
	}
	*ret_ns = is_negative ? -total : total;
	return true;
}

static void fuzz_duration(struct fuzz_input *input)
{
	char *text = text_take(input);
	long double expected, most = 9.2e18L;
	int64_t ns = 0;
	bool is_good = go_duration(text, &expected);
	bool is_taken = duration_parse(text, &ns);

	if (is_good && expected > -most && expected < most) {
		long double error = (long double)ns - expected;
		long double allowed = 1 + (expected < 0 ? -expected : expected) * 1e-12L;

		fuzz_must_say(is_taken, text);
		fuzz_must_say(error <= allowed && error >= -allowed, text);
	} else if (!is_good) {
		fuzz_must_say(!is_taken, text);
	}
	free(text);
}

static void fuzz_words(struct fuzz_input *input)
{
	struct compactor *compactor = NULL;
	enum log_level level;
	char problem[128] = "";
	const char *mode = fuzz_below(input, 2) ? "periodic" : "revision";
	char *text = text_take(input);

	(void)log_level_parse(text, &level);
	fuzz_must(!compactor_new(NULL, mode, text, &compactor, problem, sizeof(problem)) ||
		  problem[0]);
	compactor_free(compactor);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parts[])(struct fuzz_input *) = {
		fuzz_three_ways, fuzz_arguments, fuzz_file,  fuzz_url,
		fuzz_url_list,	 fuzz_duration,	 fuzz_words,
	};
	struct fuzz_input input = fuzz_input_of(data, size);

	parts[fuzz_below(&input, sizeof(parts) / sizeof(parts[0]))](&input);
	return 0;
}
