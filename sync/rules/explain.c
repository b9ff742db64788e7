/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/rules/internal.h"

#include <inttypes.h>

static const char *const flow_texts[] = {
	"never: each site has its own",
	"up: from the site to the cloud",
	"down: from the cloud to the site",
	"both ways",
};
static const char *const existence_texts[] = {
	"delete-wins: a delete ends what was updated at the same time elsewhere",
	"update-wins: what was updated at the same time elsewhere stays",
};
static const char *const home_texts[] = {
	"of its namespace",
	"of the node with this name",
	"of the node to which the pod is bound, else of its namespace",
};
static const char *const winner_texts[] = {
	"the last write",
	"the cloud, then the home",
	"the home; while it is not known, a site before the cloud",
	"the home of the namespace where one is named, else the cloud",
	"the home of the namespace where one is named, else the side that created the object",
	"a site before the cloud",
};
static const char *const owner_texts[] = {"", "cloud", "site", "lww"};

/* Keys may hold anything; what is printed is one line. */
static bool put_text(struct buffer *buffer, struct bytes text)
{
	bool ok = true;

	for (size_t i = 0; ok && i < text.size; i++)
		ok = text.data[i] < ' ' || text.data[i] > '~'
			     ? buffer_append_format(buffer, "\\x%02x", text.data[i])
			     : buffer_append(buffer, bytes_of(&text.data[i], 1));
	return ok;
}

static bool put_line(struct buffer *buffer, const char *name, struct bytes text)
{
	return buffer_append_format(buffer, "%-10s ", name) && put_text(buffer, text) &&
	       buffer_append(buffer, BYTES_LITERAL("\n"));
}

static bool put_column(struct buffer *buffer, const struct rule_column *column)
{
	const char *word = rules_winner_words[column->winner];
	bool ok = buffer_append_format(buffer, "%-10s ", "winner");

	if (!column->field.size)
		ok = ok && buffer_append(buffer, BYTES_LITERAL("*"));
	ok = ok && put_text(buffer, column->field);
	if (column->sub.size)
		ok = ok && buffer_append(buffer, BYTES_LITERAL(".")) &&
		     put_text(buffer, column->sub);
	if (column->entry.size)
		ok = ok && buffer_append(buffer, BYTES_LITERAL("[")) &&
		     put_text(buffer, column->entry) && buffer_append(buffer, BYTES_LITERAL("]"));
	return ok &&
	       buffer_append_format(buffer, " = %s: %s\n", word, winner_texts[column->winner]);
}

static bool put_source(struct buffer *buffer, const struct rules *rules, const struct rule *rule)
{
	if (!rule->pattern.size)
		return put_line(buffer, "row", BYTES_LITERAL("none"));
	if (!buffer_append_format(buffer, "%-10s ", "row") || !put_text(buffer, rule->pattern))
		return false;
	if (rule->line)
		return buffer_append_format(buffer, " (line %u of the rule file)\n", rule->line);
	return buffer_append_format(buffer, " (built in, profile %s)\n",
				    rules_profile_words[rules->profile]);
}

static bool put_said(struct buffer *buffer, const struct rules_namespace *said)
{
	bool ok = buffer_append_format(buffer, "%-10s ", "namespace") &&
		  put_text(buffer, said->pattern);

	if (said->has_flow)
		ok = ok && buffer_append_format(buffer, ", flow %s", rules_flow_words[said->flow]);
	if (said->home_name.size)
		ok = ok && buffer_append(buffer, BYTES_LITERAL(", home ")) &&
		     put_text(buffer, said->home_name);
	if (said->owner != OWNER_NONE)
		ok = ok && buffer_append(buffer, BYTES_LITERAL(", owner ")) &&
		     put_text(buffer, said->owner == OWNER_NAMED
					      ? said->owner_name
					      : bytes_of_string(owner_texts[said->owner]));
	return ok && buffer_append_format(buffer, " (line %u of the rule file)\n", said->line);
}

static bool put_merging(struct buffer *buffer, const struct rule *rule)
{
	bool ok =
		put_line(buffer, "existence", bytes_of_string(existence_texts[rule->existence])) &&
		put_line(buffer, "group", bytes_of_string(rules_group_words[rule->group])) &&
		put_line(buffer, "home", bytes_of_string(home_texts[rule->home])) &&
		put_line(buffer, "identity", bytes_of_string(winner_texts[rule->identity]));

	for (size_t i = 0; ok && i < rule->column_count; i++)
		ok = put_column(buffer, &rule->columns[i]);
	if (rule->atomic)
		ok = ok && put_line(buffer, "atomic",
				    BYTES_LITERAL("columns of two writes are never mixed"));
	if (rule->guarded)
		ok = ok && put_line(buffer, "guarded",
				    BYTES_LITERAL("deletes take much along and may stop to ask"));
	if (rule->coalesce_s)
		ok = ok && buffer_append_format(buffer, "%-10s at most every %u s\n", "travels",
						rule->coalesce_s);
	for (size_t i = 0; ok && i < rule->except_type_count; i++)
		ok = put_line(buffer, "never type", rule->except_types[i]);
	return ok;
}

bool rules_explain(const struct rules *rules, struct bytes key, struct buffer *buffer)
{
	const struct rule *rule = rules_find(rules, key);
	struct rules_key parts = rules_key_of(rules, key);
	const struct rules_namespace *said = rules_namespace_of(rules, parts.namespace);
	struct rules_subject subject = {.rule = rule, .said = said};
	bool ok = put_line(buffer, "key", key) && put_source(buffer, rules, rule);

	if (said)
		ok = ok && put_said(buffer, said);
	ok = ok &&
	     put_line(buffer, "flow", bytes_of_string(flow_texts[rules_flow(&subject, NULL)]));
	if (rule->flow != FLOW_NEVER)
		ok = ok && put_merging(buffer, rule);
	return ok && put_line(buffer, "why", rule->why);
}
