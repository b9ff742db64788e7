/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/rules/internal.h"

#include <assert.h>
#include <stdlib.h>

static const struct rule_column column_of_all = {.winner = WINNER_LWW};

/* --- rows ------------------------------------------------------------------------------------- */

bool draft_pattern(struct row_draft *draft, struct arena *arena, struct bytes text,
		   const char **ret_problem)
{
	struct rule *rule = &draft->rule;

	while (text.size && text.data[text.size - 1] == '/')
		text.size--;
	*ret_problem = !text.size ? "a key begins with a resource, as in configmaps/kube-system"
		       : text.data[0] == '/'
			       ? "keys stand below the registry: without a slash in front"
			       : NULL;
	if (*ret_problem)
		return false;
	if (!arena_copy(arena, text, &rule->pattern))
		return false;
	rule->component_count = components_of(rule->pattern, rule->components);
	for (size_t i = 0; i < rule->component_count; i++) {
		if (!rule->components[i].size)
			*ret_problem = "two slashes in a row";
		if (memchr(rule->components[i].data, '/', rule->components[i].size))
			*ret_problem = "at most 8 parts between slashes";
	}
	return !*ret_problem;
}

/* "metadata.annotations[a/b.c]": a field, what is inside it, and an entry's key. */
static bool read_column(struct bytes text, struct rule_column *ret_column)
{
	const uint8_t *open = text.size ? memchr(text.data, '[', text.size) : NULL;
	const uint8_t *dot;

	*ret_column = (struct rule_column){0};
	if (open) {
		size_t before = (size_t)(open - text.data);

		if (text.data[text.size - 1] != ']' || text.size - before < 3)
			return false;
		ret_column->entry = bytes_of(open + 1, text.size - before - 2);
		text.size = before;
	}
	dot = text.size ? memchr(text.data, '.', text.size) : NULL;
	ret_column->field = text;
	if (dot) {
		ret_column->field.size = (size_t)(dot - text.data);
		ret_column->sub = bytes_of(dot + 1, text.size - ret_column->field.size - 1);
	}
	if (bytes_equal(text, BYTES_LITERAL("*"))) {
		ret_column->field = bytes_of(NULL, 0);
		return !open;
	}
	return ret_column->field.size && (!dot || ret_column->sub.size) &&
	       !memchr(text.data, '*', text.size);
}

static size_t column_depth(const struct rule_column *column)
{
	return !column->field.size ? 0 : 1 + (column->sub.size > 0) + 2 * (column->entry.size > 0);
}

static int column_order(const struct rule_column *a, const struct rule_column *b)
{
	size_t depths[2] = {column_depth(a), column_depth(b)};
	int order;

	if (depths[0] != depths[1])
		return depths[0] > depths[1] ? -1 : 1;
	order = bytes_compare(a->field, b->field);
	if (!order)
		order = bytes_compare(a->sub, b->sub);
	return order ? order : bytes_compare(a->entry, b->entry);
}

static bool copy_column(struct arena *arena, struct rule_column *column)
{
	return arena_copy(arena, column->field, &column->field) &&
	       arena_copy(arena, column->sub, &column->sub) &&
	       arena_copy(arena, column->entry, &column->entry);
}

bool draft_winner(struct row_draft *draft, struct arena *arena, struct bytes text,
		  enum rules_winner winner, const char **ret_problem)
{
	struct rule_column column;
	size_t count = draft->rule.column_count, at = 0;

	*ret_problem = NULL;
	if (!read_column(text, &column)) {
		*ret_problem = "a column is *, a field (spec), what is in it (spec.replicas), or "
			       "an entry (metadata.labels[tier], data[app.conf])";
		return false;
	}
	column.winner = winner;
	while (at < count && column_order(&draft->columns[at], &column) < 0)
		at++;
	if (at < count && !column_order(&draft->columns[at], &column)) {
		draft->columns[at].winner = winner;
		return true;
	}
	if (count == RULES_COLUMNS_MAX) {
		*ret_problem = "too many columns in one row";
		return false;
	}
	if (!copy_column(arena, &column))
		return false;
	memmove(&draft->columns[at + 1], &draft->columns[at],
		(count - at) * sizeof(*draft->columns));
	draft->columns[at] = column;
	draft->rule.column_count++;
	return true;
}

const struct rule *rules_base(const struct rules *rules, const struct row_draft *draft,
			      bool *ret_same)
{
	const struct rule *best = NULL;

	for (size_t i = 0; i < rules->row_count; i++) {
		const struct rule *row = &rules->rows[i];

		if (rule_covers(row, &draft->rule) && (!best || rule_order(row, best) < 0))
			best = row;
	}
	assert(best); /* the built-in tables have a row for everything */
	*ret_same = !rule_order(best, &draft->rule);
	return best;
}

/* The row with this pattern, or the place behind the last one. */
static size_t find_place(const struct rules *rules, const struct rule *rule)
{
	for (size_t i = 0; i < rules->row_count; i++)
		if (!rule_order(&rules->rows[i], rule))
			return i;
	return rules->row_count;
}

bool draft_finish(const struct row_draft *draft, struct rules *rules, const char **ret_problem)
{
	size_t at = find_place(rules, &draft->rule), count = draft->rule.column_count;
	struct rule_column *columns = arena_calloc(&rules->arena, count + 1, sizeof(*columns));

	*ret_problem = at == RULES_ROWS_MAX ? "too many rows" : NULL;
	if (!columns || *ret_problem)
		return false;
	memcpy(columns, draft->columns, count * sizeof(*columns));
	if (!count || columns[count - 1].field.size)
		columns[count++] = column_of_all;
	rules->rows[at] = draft->rule;
	rules->rows[at].columns = columns;
	rules->rows[at].column_count = count;
	rules->row_count += at == rules->row_count;
	return true;
}

/* --- what is built in ------------------------------------------------------------------------- */

static struct bytes next_word(struct bytes *text)
{
	const uint8_t *blank = text->size ? memchr(text->data, ' ', text->size) : NULL;
	size_t size = blank ? (size_t)(blank - text->data) : text->size;
	struct bytes word = bytes_of(text->data, size);

	*text = bytes_of(text->data + size + (blank != NULL), text->size - size - (blank != NULL));
	return word;
}

static bool read_winners(struct row_draft *draft, struct arena *arena, const char *text)
{
	struct bytes left = bytes_of_string(text ? text : "*=lww");
	const char *problem;

	while (left.size) {
		struct bytes word = next_word(&left);
		size_t size = word.size;
		int winner;

		while (word.data[size - 1] != '=')
			size--;
		if (!word_find(rules_winner_words, RULES_WINNERS,
			       bytes_of(word.data + size, word.size - size), &winner) ||
		    !draft_winner(draft, arena, bytes_of(word.data, size - 1),
				  (enum rules_winner)winner, &problem))
			return false;
	}
	return true;
}

static bool read_types(struct row_draft *draft, struct arena *arena, const char *text)
{
	struct bytes *types = arena_calloc(arena, RULES_COLUMNS_MAX, sizeof(*types));
	struct bytes left = bytes_of_string(text ? text : "");

	if (!types)
		return false;
	while (left.size)
		types[draft->rule.except_type_count++] = next_word(&left);
	draft->rule.except_types = types;
	return true;
}

static bool add_built_in(struct rules *rules, const struct built_in_row *row)
{
	struct row_draft draft = {.rule = {.flow = row->flow,
					   .existence = row->existence,
					   .group = row->group,
					   .home = row->home,
					   .identity = row->identity,
					   .guarded = row->guarded,
					   .atomic = row->atomic,
					   .coalesce_s = row->coalesce_s,
					   .why = bytes_of_string(row->why)}};
	const char *problem;

	return draft_pattern(&draft, &rules->arena, bytes_of_string(row->pattern), &problem) &&
	       read_winners(&draft, &rules->arena, row->winners) &&
	       read_types(&draft, &rules->arena, row->except_types) &&
	       draft_finish(&draft, rules, &problem);
}

enum err rules_new(enum rules_profile profile, struct rules **ret_rules)
{
	bool shared = profile == PROFILE_SHARED;
	const struct built_in_row *rows = shared ? rules_shared_rows : rules_twin_rows;
	size_t count = shared ? rules_shared_count : rules_twin_count;
	struct rules *rules = calloc(1, sizeof(*rules));
	bool ok = rules;

	if (ok) {
		arena_init(&rules->arena, RULES_ARENA_BYTES);
		rules->profile = profile;
		rules->registry = BYTES_LITERAL("/registry/");
		rules->rows = arena_calloc(&rules->arena, RULES_ROWS_MAX, sizeof(*rules->rows));
		ok = rules->rows;
	}
	for (size_t i = 0; ok && i < count; i++)
		ok = add_built_in(rules, &rows[i]);
	if (!ok) {
		rules_free(rules);
		return fault(ERR_NOMEM, "a table of %zu rules", count);
	}
	*ret_rules = rules;
	return ERR_OK;
}

static int compare_rows(const void *a, const void *b)
{
	return rule_order(a, b);
}

static int compare_namespaces(const void *a, const void *b)
{
	return glob_order(((const struct rules_namespace *)a)->pattern,
			  ((const struct rules_namespace *)b)->pattern);
}

void rules_sort(struct rules *rules)
{
	qsort(rules->rows, rules->row_count, sizeof(*rules->rows), compare_rows);
	if (rules->namespace_count)
		qsort(rules->namespaces, rules->namespace_count, sizeof(*rules->namespaces),
		      compare_namespaces);
	for (size_t i = 0; i < rules->namespace_count; i++)
		rules->namespace_plain += glob_is_plain(rules->namespaces[i].pattern);
}

enum err rules_builtin(enum rules_profile profile, struct rules **ret_rules)
{
	enum err e = rules_new(profile, ret_rules);

	if (!e)
		rules_sort(*ret_rules);
	return e;
}

void rules_free(struct rules *rules)
{
	if (!rules)
		return;
	arena_fini(&rules->arena);
	free(rules);
}
