/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/rules/file.h"

#include <stdlib.h>

#define COALESCE_SECONDS_MAX 86400

/* --- rows ------------------------------------------------------------------------------------- */

static bool row_key(struct reader *reader, yaml_node_t *node, void *target)
{
	(void)reader, (void)node, (void)target; /* was read first */
	return true;
}

#define ROW_WORD(function, label, texts, size, field, type)                                        \
	static bool function(struct reader *reader, yaml_node_t *node, void *target)               \
	{                                                                                          \
		struct row_draft *draft = target;                                                  \
		struct words row_words = {label, texts, size};                                     \
		int number;                                                                        \
                                                                                                   \
		if (!file_word(reader, node, &row_words, &number))                                 \
			return false;                                                              \
		draft->rule.field = (type)number;                                                  \
		return true;                                                                       \
	}

ROW_WORD(row_flow, "flow", rules_flow_words, RULES_FLOWS, flow, enum rules_flow)
ROW_WORD(row_existence, "existence", rules_existence_words, RULES_EXISTENCES, existence,
	 enum rules_existence)
ROW_WORD(row_group, "group", rules_group_words, GROUPS, group, enum group)
ROW_WORD(row_home, "home", rules_home_words, RULES_HOMES, home, enum rules_home)

static bool row_identity(struct reader *reader, yaml_node_t *node, void *target)
{
	struct row_draft *draft = target;
	struct words words = {"identity", rules_winner_words, RULES_WINNERS};
	int number;

	if (!file_word(reader, node, &words, &number))
		return false;
	if (number == WINNER_CREATOR)
		return file_fail(reader, node,
				 "identity cannot be creator: each of two objects has its "
				 "own; write site, cloud, home, owner or lww");
	draft->rule.identity = (enum rules_winner)number;
	return true;
}

static bool row_guarded(struct reader *reader, yaml_node_t *node, void *target)
{
	return file_truth(reader, node, "guarded", &((struct row_draft *)target)->rule.guarded);
}

static bool row_atomic(struct reader *reader, yaml_node_t *node, void *target)
{
	return file_truth(reader, node, "atomic", &((struct row_draft *)target)->rule.atomic);
}

static bool row_why(struct reader *reader, yaml_node_t *node, void *target)
{
	return file_keep_text(reader, node, "why", &((struct row_draft *)target)->rule.why);
}

static bool row_coalesce(struct reader *reader, yaml_node_t *node, void *target)
{
	struct row_draft *draft = target;
	struct bytes text = {0};
	unsigned seconds = 0;
	bool ok;

	if (!file_text(reader, node, "coalesce-seconds", &text))
		return false;
	ok = text.size <= 5;
	for (size_t i = 0; ok && i < text.size; i++) {
		ok = text.data[i] >= '0' && text.data[i] <= '9';
		seconds = seconds * 10 + (unsigned)(text.data[i] - '0');
	}
	if (!ok || seconds > COALESCE_SECONDS_MAX)
		return file_fail(reader, node, "coalesce-seconds is a number from 0 to %d",
				 COALESCE_SECONDS_MAX);
	draft->rule.coalesce_s = seconds;
	return true;
}

static bool row_winners(struct reader *reader, yaml_node_t *node, void *target)
{
	struct row_draft *draft = target;
	struct words words = {"a winner", rules_winner_words, RULES_WINNERS};

	if (node->type != YAML_MAPPING_NODE)
		return file_fail(reader, node, "winners are lines of the form  column: winner");
	if (file_value(reader, node, "*"))
		draft->rule.column_count = 0;
	for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = file_node(reader, pair->key);
		const char *problem;
		struct bytes column = {0};
		int winner;

		if (!file_text(reader, key, "a column", &column) ||
		    !file_word(reader, file_node(reader, pair->value), &words, &winner))
			return false;
		if (file_is_twice(reader, node, pair, column))
			return file_fail(reader, key, "this column is there twice: keep one");
		if (!draft_winner(draft, &reader->rules->arena, column, (enum rules_winner)winner,
				  &problem))
			return file_fail_build(reader, key, problem);
	}
	return true;
}

static bool row_types(struct reader *reader, yaml_node_t *node, void *target)
{
	struct row_draft *draft = target;
	struct bytes *types =
		arena_calloc(&reader->rules->arena, RULES_COLUMNS_MAX, sizeof(*types));
	size_t count = 0;

	if (!types)
		return file_fail_build(reader, node, NULL);
	if (node->type != YAML_SEQUENCE_NODE)
		return file_fail(reader, node, "except-types is a list: [type, type], or []");
	for (const yaml_node_item_t *item = node->data.sequence.items.start;
	     item < node->data.sequence.items.top; item++) {
		if (count == RULES_COLUMNS_MAX)
			return file_fail(reader, node, "at most %d types", RULES_COLUMNS_MAX);
		if (!file_keep_text(reader, file_node(reader, *item), "a type", &types[count++]))
			return false;
	}
	draft->rule.except_types = types;
	draft->rule.except_type_count = count;
	return true;
}

static const struct setting row_list[] = {
	{"key", row_key},
	{"flow", row_flow},
	{"existence", row_existence},
	{"winners", row_winners},
	{"identity", row_identity},
	{"home", row_home},
	{"group", row_group},
	{"guarded", row_guarded},
	{"atomic", row_atomic},
	{"coalesce-seconds", row_coalesce},
	{"except-types", row_types},
	{"why", row_why},
};

/* What a row does not say is as in the row that it changes, or as in the one that held before. */
static void inherit(struct reader *reader, struct row_draft *draft, const yaml_node_t *node)
{
	struct rule mine = draft->rule;
	bool same;
	const struct rule *base = rules_base(reader->rules, draft, &same);

	draft->rule = *base;
	draft->rule.pattern = mine.pattern;
	memcpy(draft->rule.components, mine.components, sizeof(mine.components));
	draft->rule.component_count = mine.component_count;
	draft->rule.line = (unsigned)node->start_mark.line + 1;
	if (!same)
		draft->rule.why = BYTES_LITERAL("said in the rule file");
	memcpy(draft->columns, base->columns, base->column_count * sizeof(*draft->columns));
}

static bool read_row(struct reader *reader, yaml_node_t *node, struct row_draft *draft)
{
	struct settings settings = {"a row", row_list, sizeof(row_list) / sizeof(*row_list)};
	const char *problem;

	inherit(reader, draft, node);
	if (!file_settings(reader, node, &settings, draft))
		return false;
	return draft_finish(draft, reader->rules, &problem) ||
	       file_fail_build(reader, node, problem);
}

/* A row before it is read: wide ones come first, so that the order of the lines does not count. */
struct waiting {
	yaml_node_t *node;
	struct row_draft draft;
};

static int compare_waiting(const void *a, const void *b)
{
	return -rule_order(&((const struct waiting *)a)->draft.rule,
			   &((const struct waiting *)b)->draft.rule);
}

static bool read_key(struct reader *reader, struct waiting *waiting)
{
	struct bytes pattern = {0};
	const char *problem;
	yaml_node_t *key;

	if (waiting->node->type != YAML_MAPPING_NODE)
		return file_fail(reader, waiting->node,
				 "a row is written as lines of the form  name: value");
	key = file_value(reader, waiting->node, "key");
	if (!key)
		return file_fail(reader, waiting->node,
				 "a row needs a key: for example  key: configmaps");
	return file_text(reader, key, "key", &pattern) &&
	       (draft_pattern(&waiting->draft, &reader->rules->arena, pattern, &problem) ||
		file_fail_build(reader, key, problem));
}

static bool read_sorted(struct reader *reader, struct waiting *list, size_t count)
{
	bool ok = true;

	if (count)
		qsort(list, count, sizeof(*list), compare_waiting);
	for (size_t i = 0; ok && i < count; i++) {
		if (i && !compare_waiting(&list[i - 1], &list[i]))
			return file_fail(reader, list[i].node,
					 "line %zu has this key, too: make it one row",
					 list[i - 1].node->start_mark.line + 1);
		ok = read_row(reader, list[i].node, &list[i].draft);
	}
	return ok;
}

bool file_rows(struct reader *reader, yaml_node_t *node, void *target)
{
	struct waiting *list;
	size_t count;
	bool ok = true;

	(void)target;
	if (node->type != YAML_SEQUENCE_NODE)
		return file_fail(reader, node, "rules are a list: each row begins with  - key:");
	count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (count > RULES_ROWS_MAX)
		return file_fail(reader, node, "at most %d rows", RULES_ROWS_MAX);
	list = calloc(count + 1, sizeof(*list));
	if (!list)
		return file_fail_build(reader, node, NULL);
	for (size_t i = 0; ok && i < count; i++) {
		list[i].node = file_node(reader, node->data.sequence.items.start[i]);
		ok = read_key(reader, &list[i]);
	}
	ok = ok && read_sorted(reader, list, count);
	free(list);
	return ok;
}

/* --- namespaces ------------------------------------------------------------------------------- */

static bool said_name(struct reader *reader, yaml_node_t *node, void *target)
{
	struct rules_namespace *said = target;

	if (!file_keep_text(reader, node, "namespace", &said->pattern))
		return false;
	if (memchr(said->pattern.data, '/', said->pattern.size))
		return file_fail(reader, node, "a namespace's name has no slash");
	for (size_t i = 0; i < reader->rules->namespace_count; i++)
		if (bytes_equal(reader->rules->namespaces[i].pattern, said->pattern))
			return file_fail(reader, node,
					 "line %u speaks of it already: make it one entry",
					 reader->rules->namespaces[i].line);
	return true;
}

static bool said_home(struct reader *reader, yaml_node_t *node, void *target)
{
	struct rules_namespace *said = target;
	struct bytes name = {0};

	if (!file_keep_text(reader, node, "home", &said->home_name))
		return false;
	if (rules_owner_of(said->home_name, &name) != OWNER_NAMED)
		return file_fail(reader, node, "a home is one site: write its name");
	return true;
}

static bool said_owner(struct reader *reader, yaml_node_t *node, void *target)
{
	struct rules_namespace *said = target;
	struct bytes text = {0};

	if (!file_keep_text(reader, node, "owner", &text))
		return false;
	said->owner = rules_owner_of(text, &said->owner_name);
	return true;
}

static bool said_flow(struct reader *reader, yaml_node_t *node, void *target)
{
	struct rules_namespace *said = target;
	struct words words = {"flow", rules_flow_words, RULES_FLOWS};
	int number;

	if (!file_word(reader, node, &words, &number))
		return false;
	said->flow = (enum rules_flow)number;
	said->has_flow = true;
	return true;
}

static const struct setting said_list[] = {
	{"namespace", said_name}, {"home", said_home}, {"owner", said_owner}, {"flow", said_flow}};

static bool read_said(struct reader *reader, yaml_node_t *node)
{
	struct settings settings = {"a namespace", said_list,
				    sizeof(said_list) / sizeof(*said_list)};
	struct rules_namespace *said = &reader->rules->namespaces[reader->rules->namespace_count];

	*said = (struct rules_namespace){.line = (unsigned)node->start_mark.line + 1};
	if (!file_settings(reader, node, &settings, said))
		return false;
	if (!said->pattern.size)
		return file_fail(reader, node,
				 "an entry needs a name: for example  namespace: payments");
	reader->rules->namespace_count++;
	return true;
}

bool file_namespaces(struct reader *reader, yaml_node_t *node, void *target)
{
	struct rules *rules = reader->rules;
	size_t count;

	(void)target;
	if (node->type != YAML_SEQUENCE_NODE)
		return file_fail(reader, node,
				 "namespaces are a list: each begins with  - namespace:");
	count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (count > RULES_NAMESPACES_MAX)
		return file_fail(reader, node, "at most %d namespaces", RULES_NAMESPACES_MAX);
	rules->namespaces = arena_calloc(&rules->arena, count + 1, sizeof(*rules->namespaces));
	if (!rules->namespaces)
		return file_fail_build(reader, node, NULL);
	for (size_t i = 0; i < count; i++)
		if (!read_said(reader, file_node(reader, node->data.sequence.items.start[i])))
			return false;
	return true;
}
