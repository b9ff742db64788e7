/* SPDX-License-Identifier: Apache-2.0 */
/* Rule files: any bytes, and tables written in several ways.
 *
 * What must hold: a file is taken or refused in words, with a place; what was taken finds a row for
 * every key, explains it, and hashes the same when it is read again; the order of lines and the
 * style of YAML do not count; two tables that hash alike decide alike; stars match as a naive
 * matcher says; a value's kind can be asked of any bytes. */
#include "tests/fuzz/fuzz.h"

#include "sync/codec/value.h"
#include "sync/rules/internal.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX (64 * KIB)
#define ROWS_MAX 6

int LLVMFuzzerInitialize(int *arg_count, char ***args)
{
	(void)arg_count, (void)args;
	fuzz_quiet();
	return 0;
}

static const char *const keys[] = {
	"/registry/configmaps/payments/app",
	"/registry/configmaps/payments/kube-root-ca.crt",
	"/registry/configmaps/team-a/x",
	"/registry/deployments/payments/app",
	"/registry/services/specs/default/kubernetes",
	"/registry/example.com/widgets/team-b/w",
	"/registry/example.com/widgets/w",
	"/registry/minions/node-1",
	"/registry/namespaces/payments",
	"/registry/ranges/serviceips",
	"/registry/a/b/c",
	"/registry/ab/b/bc",
	"/registry/health",
	"/other/pods/a/b",
};

#define KEYS (sizeof(keys) / sizeof(*keys))

/* --- tables ----------------------------------------------------------------------------------- */

static bool parse(struct bytes yaml, struct rules **ret_rules)
{
	char problem[RULES_PROBLEM_BYTES];
	enum err e = rules_parse(yaml, ret_rules, problem);

	fuzz_must(e == ERR_OK || e == ERR_MALFORMED);
	fuzz_must(!e == !problem[0]);
	fuzz_must(strlen(problem) < RULES_PROBLEM_BYTES);
	if (e)
		fuzz_must_say(strstr(problem, "line ") == problem ||
				      strstr(problem, "byte ") == problem ||
				      strstr(problem, "the file ") == problem,
			      problem);
	return !e;
}

static void check_table(const struct rules *rules, struct bytes extra_key)
{
	for (size_t i = 0; i <= KEYS; i++) {
		struct buffer text = BUFFER_INIT(TEXT_MAX * 8);
		struct bytes key = i < KEYS ? bytes_of_string(keys[i]) : extra_key;
		const struct rule *rule = rules_find(rules, key);

		fuzz_must(rule && rule->column_count > 0);
		fuzz_must(!rule->columns[rule->column_count - 1].field.size);
		fuzz_must(rules_explain(rules, key, &text) && text.size > 0);
		buffer_fini(&text);
	}
}

static bool same_hash(const struct rules *a, const struct rules *b)
{
	uint8_t hashes[2][RULES_HASH_BYTES];

	fuzz_must(!rules_hash(a, hashes[0]) && !rules_hash(b, hashes[1]));
	return !memcmp(hashes[0], hashes[1], RULES_HASH_BYTES);
}

static bool same_columns(const struct rule *a, const struct rule *b)
{
	static const char *const fields[][3] = {
		{"spec", "", ""},
		{"spec", "replicas", ""},
		{"status", "", ""},
		{"data", "", ""},
		{"data", "", "app"},
		{"metadata", "labels", ""},
		{"metadata", "labels", "x"},
		{"metadata", "", ""},
	};
	bool same = true;

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		struct column_id id = {.field = bytes_of_string(fields[i][0]),
				       .sub = bytes_of_string(fields[i][1]),
				       .entry = bytes_of_string(fields[i][2])};

		same = same && columns_winner(a->columns, a->column_count, &id) ==
				       columns_winner(b->columns, b->column_count, &id);
	}
	return same;
}

static bool decide_alike(const struct rules *a, const struct rules *b, struct bytes key)
{
	struct rules_view views[2] = {{.rules = a}, {.rules = b}};
	struct rules_subject of[2];
	const struct rule *left, *right;

	rules_subject_of(&views[0], key, &of[0]);
	rules_subject_of(&views[1], key, &of[1]);
	left = of[0].rule;
	right = of[1].rule;
	if (rules_flow(&of[0], NULL) != rules_flow(&of[1], NULL))
		return false;
	if (!of[0].said != !of[1].said ||
	    (of[0].said && (of[0].said->owner != of[1].said->owner ||
			    !bytes_equal(of[0].said->home_name, of[1].said->home_name))))
		return false;
	return left->flow == FLOW_NEVER ||
	       (left->existence == right->existence && left->group == right->group &&
		left->home == right->home && left->identity == right->identity &&
		left->guarded == right->guarded && left->atomic == right->atomic &&
		left->coalesce_s == right->coalesce_s && same_columns(left, right));
}

/* --- files of any bytes ----------------------------------------------------------------------- */

static void fuzz_bytes_as_file(struct fuzz_input *input)
{
	struct bytes key = fuzz_bytes(input, 64), yaml = fuzz_rest(input);
	struct rules *rules = NULL, *again = NULL;

	if (!parse(yaml, &rules))
		return;
	check_table(rules, key);
	fuzz_must(parse(yaml, &again));
	fuzz_must(same_hash(rules, again));
	rules_free(rules);
	rules_free(again);
}

/* --- tables as programs ----------------------------------------------------------------------- */

struct program {
	char rows[ROWS_MAX][256];
	char namespaces[ROWS_MAX][128];
	size_t row_count;
	size_t namespace_count;
	const char *profile;
};

static const char *pick(struct fuzz_input *input, const char *const *list, unsigned count)
{
	return list[fuzz_below(input, count)];
}

#define PICK(input, list) pick(input, list, sizeof(list) / sizeof(*(list)))

static void take_row(struct fuzz_input *input, char row[256])
{
	static const char *const patterns[] = {"configmaps",
					       "configmaps/payments",
					       "configmaps/*/app",
					       "configmaps/team-*",
					       "deployments",
					       "example.com",
					       "example.com/*",
					       "*",
					       "a/b",
					       "a/*",
					       "*/b",
					       "a*/b*",
					       "a*/*c",
					       "*b/*",
					       "minions",
					       "namespaces"};
	static const char *const settings[] = {"flow: never",
					       "flow: up",
					       "flow: down",
					       "flow: both",
					       "atomic: true",
					       "guarded: true",
					       "existence: update-wins",
					       "identity: lww",
					       "home: node",
					       "group: events",
					       "coalesce-seconds: 3",
					       "except-types: [x, y]",
					       "winners: {spec: cloud}",
					       "winners: {\"*\": site, spec.replicas: home}",
					       "winners: {data: home, data[app]: lww}",
					       "winners: {metadata.labels: creator}"};
	int used = snprintf(row, 256, "key: \"%s\"", PICK(input, patterns));
	unsigned taken = 0;

	for (unsigned left = fuzz_below(input, 4); left > 0; left--) {
		unsigned number = fuzz_below(input, sizeof(settings) / sizeof(*settings));
		unsigned kind = number < 4 ? 0 : number < 12 ? number : 12;

		if (taken >> kind & 1)
			continue;
		taken |= 1u << kind;
		used += snprintf(row + used, 256 - (size_t)used, ", %s", settings[number]);
	}
}

static void take_namespace(struct fuzz_input *input, char text[128])
{
	static const char *const names[] = {"payments", "team-a", "team-*", "*", "*s"};
	static const char *const more[] = {"",
					   ", flow: both",
					   ", flow: never",
					   ", owner: cloud",
					   ", owner: x",
					   ", home: y",
					   ", flow: up, owner: lww, home: z"};

	snprintf(text, 128, "namespace: \"%s\"%s", PICK(input, names), PICK(input, more));
}

static void take_program(struct fuzz_input *input, struct program *program)
{
	static const char *const profiles[] = {"twin", "shared"};

	*program = (struct program){.profile = PICK(input, profiles)};
	for (unsigned left = fuzz_below(input, ROWS_MAX); left > 0; left--)
		take_row(input, program->rows[program->row_count++]);
	for (unsigned left = fuzz_below(input, ROWS_MAX); left > 0; left--)
		take_namespace(input, program->namespaces[program->namespace_count++]);
}

static void put_list(struct buffer *yaml, const char *name, const char *texts, size_t size,
		     size_t count, bool backwards)
{
	fuzz_must(buffer_append_format(yaml, backwards ? "%s: [" : "%s:\n", name));
	for (size_t i = 0; i < count; i++)
		fuzz_must(buffer_append_format(yaml, backwards ? "{%s},  " : "  # a row\n- {%s}\n",
					       texts + (backwards ? count - 1 - i : i) * size));
	fuzz_must(!backwards || buffer_append(yaml, BYTES_LITERAL("]\n")));
}

static bool load_program(const struct program *program, bool backwards, struct rules **ret_rules)
{
	struct buffer yaml = BUFFER_INIT(TEXT_MAX);
	bool ok;

	if (!backwards)
		fuzz_must(buffer_append_format(&yaml, "profile: %s\n", program->profile));
	if (program->row_count)
		put_list(&yaml, "rules", program->rows[0], sizeof(program->rows[0]),
			 program->row_count, backwards);
	if (program->namespace_count)
		put_list(&yaml, "namespaces", program->namespaces[0],
			 sizeof(program->namespaces[0]), program->namespace_count, backwards);
	if (backwards)
		fuzz_must(buffer_append_format(&yaml, "'profile': \"%s\"", program->profile));
	ok = parse(buffer_bytes(&yaml), ret_rules);
	buffer_fini(&yaml);
	return ok;
}

static void fuzz_programs(struct fuzz_input *input)
{
	struct rules *rules[3] = {NULL};
	struct program programs[2];
	bool ok[3];

	take_program(input, &programs[0]);
	take_program(input, &programs[1]);
	ok[0] = load_program(&programs[0], false, &rules[0]);
	ok[1] = load_program(&programs[0], true, &rules[1]);
	ok[2] = load_program(&programs[1], false, &rules[2]);
	fuzz_must(ok[0] == ok[1]);
	if (ok[0])
		fuzz_must(same_hash(rules[0], rules[1]));
	for (int other = 1; other < 3; other++)
		for (size_t i = 0;
		     ok[0] && ok[other] && same_hash(rules[0], rules[other]) && i < KEYS; i++)
			fuzz_must_say(
				decide_alike(rules[0], rules[other], bytes_of_string(keys[i])),
				keys[i]);
	for (int i = 0; i < 3; i++)
		rules_free(rules[i]);
}

/* --- stars and values ------------------------------------------------------------------------- */

static bool naive_match(struct bytes glob, struct bytes text)
{
	struct bytes rest = bytes_of(glob.data + 1, glob.size - 1);

	if (!glob.size)
		return !text.size;
	if (glob.data[0] != '*')
		return text.size && text.data[0] == glob.data[0] &&
		       naive_match(rest, bytes_of(text.data + 1, text.size - 1));
	for (size_t i = 0; i <= text.size; i++)
		if (naive_match(rest, bytes_of(text.data + i, text.size - i)))
			return true;
	return false;
}

static void fuzz_stars(struct fuzz_input *input)
{
	uint8_t glob[8] = {0}, text[12] = {0};
	size_t glob_size = fuzz_below(input, sizeof(glob)), size = fuzz_below(input, sizeof(text));

	for (size_t i = 0; i < glob_size; i++)
		glob[i] = (uint8_t) "ab*"[fuzz_below(input, 3)];
	for (size_t i = 0; i < size; i++)
		text[i] = (uint8_t) "ab*"[fuzz_below(input, 3)];
	fuzz_must(glob_match(bytes_of(glob, glob_size), bytes_of(text, size)) ==
		  naive_match(bytes_of(glob, glob_size), bytes_of(text, size)));
}

static void fuzz_values(struct fuzz_input *input)
{
	struct bytes value = fuzz_rest(input);
	struct value_kind kind;
	struct arena arena;

	arena_init(&arena, 64 * MIB);
	fuzz_must(value_kind(value, &arena, &kind) == ERR_OK);
	if (kind.form == VALUE_OBJECT)
		fuzz_must(kind.api_version.size && kind.kind.size && kind.format != OBJECT_OPAQUE);
	if (kind.form == VALUE_ENCRYPTED)
		fuzz_must(kind.key_name.size <= value.size);
	arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parts[])(struct fuzz_input *) = {fuzz_bytes_as_file, fuzz_programs,
							     fuzz_stars, fuzz_values};
	struct fuzz_input input = fuzz_input_of(data, size);

	parts[fuzz_below(&input, sizeof(parts) / sizeof(parts[0]))](&input);
	return 0;
}
