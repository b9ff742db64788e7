/* SPDX-License-Identifier: Apache-2.0 */
/* hash.c - a table without anything that does not decide: rows that say what the row behind them
 * says, columns that say what the wider column says, reasons and lines. */
#include "sync/reconcile/digest.h"
#include "sync/rules/internal.h"

#include <stdlib.h>

#define HASH_FORM "kedge rules 1"

/* Whether a wider column of the row says the same. */
static bool column_is_needless(const struct rule *rule, size_t at)
{
	const struct rule_column *column = &rule->columns[at];

	for (size_t i = at + 1; i < rule->column_count; i++) {
		const struct rule_column *wider = &rule->columns[i];

		if (wider->entry.size || (wider->sub.size && !bytes_equal(wider->sub, column->sub)))
			continue;
		if (!wider->field.size || bytes_equal(wider->field, column->field))
			return wider->winner == column->winner;
	}
	return false;
}

static int compare_types(const void *a, const void *b)
{
	return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

static bool put_types(struct buffer *buffer, const struct rule *rule)
{
	struct bytes sorted[RULES_COLUMNS_MAX];
	size_t count = 0;
	bool ok;

	for (; count < rule->except_type_count; count++)
		sorted[count] = rule->except_types[count];
	if (count)
		qsort(sorted, count, sizeof(*sorted), compare_types);
	ok = wire_put_number(buffer, count);
	for (size_t i = 0; ok && i < count; i++)
		ok = wire_put_bytes(buffer, sorted[i]);
	return ok;
}

/* All that a row decides, but for which keys. */
static bool put_effect(struct buffer *buffer, const struct rule *rule)
{
	uint64_t numbers[] = {rule->flow,     rule->existence, rule->group,  rule->home,
			      rule->identity, rule->guarded,   rule->atomic, rule->coalesce_s};
	bool ok = put_types(buffer, rule);

	/* What never travels is never merged. */
	if (rule->flow == FLOW_NEVER)
		return wire_put_number(buffer, FLOW_NEVER);
	for (size_t i = 0; ok && i < sizeof(numbers) / sizeof(*numbers); i++)
		ok = wire_put_number(buffer, numbers[i]);
	for (size_t i = 0; ok && i < rule->column_count; i++) {
		const struct rule_column *column = &rule->columns[i];

		ok = column_is_needless(rule, i) || (wire_put_bytes(buffer, column->field) &&
						     wire_put_bytes(buffer, column->sub) &&
						     wire_put_bytes(buffer, column->entry) &&
						     wire_put_number(buffer, column->winner));
	}
	return ok;
}

static bool same_effect(const struct rule *a, const struct rule *b, bool *ret_same)
{
	struct buffer buffers[2] = {BUFFER_INIT(MIB), BUFFER_INIT(MIB)};
	bool ok = put_effect(&buffers[0], a) && put_effect(&buffers[1], b);

	*ret_same = ok && bytes_equal(buffer_bytes(&buffers[0]), buffer_bytes(&buffers[1]));
	buffer_fini(&buffers[0]);
	buffer_fini(&buffers[1]);
	return ok;
}

/* Whether every key of the row would find the same without it. */
static bool row_is_needless(const struct rules *rules, size_t at, bool *ret_needless)
{
	const struct rule *row = &rules->rows[at];
	bool same = true;

	*ret_needless = false;
	for (size_t i = at + 1; i < rules->row_count; i++) {
		const struct rule *behind = &rules->rows[i];

		if (!rule_overlaps(behind, row))
			continue;
		if (!same_effect(behind, row, &same))
			return false;
		*ret_needless = same && rule_covers(behind, row);
		if (!same || *ret_needless)
			return true;
	}
	return true;
}

static bool put_rows(struct buffer *buffer, const struct rules *rules)
{
	bool ok = true, needless;

	for (size_t i = 0; ok && i < rules->row_count; i++) {
		ok = row_is_needless(rules, i, &needless);
		if (!ok || needless)
			continue;
		ok = wire_put_bytes(buffer, rules->rows[i].pattern) &&
		     put_effect(buffer, &rules->rows[i]);
	}
	return ok;
}

static bool put_namespaces(struct buffer *buffer, const struct rules *rules)
{
	bool ok = true;

	for (size_t i = 0; ok && i < rules->namespace_count; i++) {
		const struct rules_namespace *said = &rules->namespaces[i];

		ok = wire_put_bytes(buffer, said->pattern) &&
		     wire_put_number(buffer, said->has_flow ? 1 + said->flow : 0) &&
		     wire_put_number(buffer, said->owner) &&
		     wire_put_bytes(buffer, said->owner_name) &&
		     wire_put_bytes(buffer, said->home_name);
	}
	return ok;
}

enum err rules_hash(const struct rules *rules, uint8_t ret_hash[RULES_HASH_BYTES])
{
	struct buffer buffer = BUFFER_INIT(RULES_ARENA_BYTES);
	struct bytes whole;
	bool ok = wire_put_bytes(&buffer, BYTES_LITERAL(HASH_FORM)) &&
		  wire_put_bytes(&buffer, rules->registry) && put_rows(&buffer, rules) &&
		  wire_put_number(&buffer, 0) && put_namespaces(&buffer, rules);

	if (ok) {
		whole = buffer_bytes(&buffer);
		digest_of(&whole, 1, RULES_HASH_BYTES, ret_hash);
	}
	buffer_fini(&buffer);
	return ok ? ERR_OK : fault(ERR_NOMEM, "the hash of %zu rules", rules->row_count);
}
