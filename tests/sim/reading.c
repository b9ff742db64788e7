/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/reading.h"

#include "sync/engine/row_meta.h"
#include "sync/merge/meta.h"

#include <assert.h>
#include <stdlib.h>

#define READ_ARENA_BYTES (64 * MIB)

static uint64_t mix(uint64_t hash, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return (hash ^ size) * UINT64_C(0x100000001b3);
}

static uint64_t value_hash(struct bytes value)
{
	return mix(UINT64_C(0xcbf29ce484222325), value.data, value.size);
}

static uint64_t column_hash(const struct column_id *id)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	hash = mix(hash, &id->layout, sizeof(id->layout));
	hash = mix(hash, id->field.data, id->field.size);
	hash = mix(hash, id->sub.data, id->sub.size);
	hash = mix(hash, &id->part, sizeof(id->part));
	return mix(hash, id->entry.data, id->entry.size);
}

static void put_fact(struct fact_set *facts, const struct fact *fact)
{
	facts->list = realloc(facts->list, (facts->count + 1) * sizeof(*fact));
	assert(facts->list);
	facts->list[facts->count++] = *fact;
}

/* --- states
 * -----------------------------------------------------------------------------------
 */

/* Whether the dot is the row's own, which the oracle has not heard of yet. */
static bool is_own(const struct sim_site *site, const struct dot *dot, int64_t own, bool is_known)
{
	return own == dot->revision &&
	       (!is_known || site->may_reuse || !actor_compare(&dot->actor, &site->self));
}

static unsigned write_of(struct sim_site *site, unsigned key, const struct dot *dot, int64_t own)
{
	struct oracle *oracle = &site->world->oracle;
	unsigned found = oracle_find(oracle, site->number, key, dot);

	if (is_own(site, dot, own, found != WRITES_MAX))
		return oracle->count;
	if (found == WRITES_MAX && site_restamp(site, key, dot))
		found = oracle_find(oracle, site->number, key, dot);
	if (found == WRITES_MAX)
		world_fail(site->world, "I1",
			   "%s holds of %s a value of revision %lld of site %02x, incarnation %x,"
			   " that nobody wrote",
			   site_name(site), site->world->keys[key].text, (long long)dot->revision,
			   dot->actor.site.bytes[0], dot->actor.incarnation);
	return found;
}

static void read_births(struct sim_site *site, unsigned key, int64_t own, const struct state *state,
			struct reading *reading)
{
	for (size_t i = 0; i < state->count; i++) {
		const struct birth *birth = &state->births[i];
		unsigned born = write_of(site, key, &birth->dot, own);

		for (size_t j = 0; j < birth->count; j++)
			for (size_t k = 0; k < birth->cells[j].count; k++) {
				const struct sibling *sibling = &birth->cells[j].siblings[k];
				struct fact fact = {born, write_of(site, key, &sibling->dot, own),
						    column_hash(&birth->cells[j].id),
						    value_hash(sibling->value)};

				if (fact.write == site->world->oracle.count)
					reading->writer = sibling->dot.actor;
				put_fact(&reading->facts, &fact);
			}
	}
	facts_sort(&reading->facts);
}

void read_state(struct sim_site *site, unsigned key, const struct log_row *row,
		const struct bytes *shown_value, bool local, struct reading *ret_reading)
{
	struct shown shown = {.present = shown_value != NULL,
			      .value = shown_value ? *shown_value : bytes_of("", 0)};
	struct dot plain = {site->self, row->revision};
	struct row_meta meta;
	struct state state = {0};
	struct arena arena;
	enum err e;

	*ret_reading = (struct reading){.writer = site->self};
	meta = (struct row_meta){0};
	arena_init(&arena, READ_ARENA_BYTES);
	e = row_meta_decode(row->meta, &arena, &meta);
	if (!e && (meta.state.size || !row->meta.size))
		e = meta_decode(meta.state, &shown, &plain, &arena, &state);
	if (e)
		world_fail(site->world, "I20", "%s: row %lld of %s cannot be read: %s",
			   site_name(site), (long long)row->revision, site->world->keys[key].text,
			   err_name(e));
	if (row->meta.size && meta.merged != row->merged)
		world_fail(site->world, "I20", "%s: row %lld: merged, says one of meta and log",
			   site_name(site), (long long)row->revision);
	ret_reading->state_bytes = meta.state.size;
	for (size_t i = 0; i < meta.claim_count && i < CLAIMS_SEEN_MAX; i++)
		ret_reading->claims[ret_reading->claim_count++] = meta.claims[i];
	read_births(site, key, local ? row->revision : -1, &state, ret_reading);
	arena_fini(&arena);
}

/* --- what a write may do
 * ---------------------------------------------------------------------- */

static const struct column *column_in(const struct object *object, uint64_t hash)
{
	for (size_t i = 0; i < object->count; i++)
		if (column_hash(&object->columns[i].id) == hash)
			return &object->columns[i];
	return NULL;
}

static bool has_column(const struct fact_set *facts, uint64_t column)
{
	for (size_t i = 0; i < facts->count; i++)
		if (facts->list[i].column == column)
			return true;
	return false;
}

static bool holds(const struct fact_set *facts, const struct fact *fact)
{
	const struct fact_set one = {(struct fact *)fact, 1};

	return !facts_lack(&one, facts);
}

static const char *check_columns(const struct object *seen, const struct object *new,
				 const struct fact_set *before, const struct fact_set *after,
				 unsigned number)
{
	for (size_t i = 0; i < new->count; i++)
		if (!has_column(after, column_hash(&new->columns[i].id)))
			return "a column that was written is not in the state";
	for (size_t i = 0; i < after->count; i++) {
		const struct fact *fact = &after->list[i];
		const struct column *written = column_in(new, fact->column);
		const struct column *old = column_in(seen, fact->column);

		if (!written)
			return "a column that was taken out is still in the state";
		if (fact->birth != after->list[0].birth)
			return "a write leaves two objects";
		if (fact->write == number) {
			if (fact->value != value_hash(written->bytes))
				return "a column's value is not what was written";
		} else if (!holds(before, fact)) {
			return "a write brings in what was not there";
		} else if (!old || !bytes_equal(old->bytes, written->bytes)) {
			return "a column that was changed keeps an older value";
		}
	}
	/* What was kept was kept whole. */
	for (size_t i = 0; i < before->count; i++) {
		bool kept = false, fresh = false;

		for (size_t j = 0; j < after->count; j++)
			if (after->list[j].column == before->list[i].column) {
				kept |= after->list[j].write != number;
				fresh |= after->list[j].write == number;
			}
		if (kept && (fresh || (before->list[i].birth == after->list[0].birth &&
				       !holds(after, &before->list[i]))))
			return "a column was changed in part";
	}
	return NULL;
}

const char *check_write(const struct written *written, const struct fact_set *before,
			const struct fact_set *after)
{
	struct object seen = {0}, new = {0};
	struct arena arena;
	const char *wrong;

	if (written->deleted)
		return after->count ? "something is left of a deleted key" : NULL;
	arena_init(&arena, READ_ARENA_BYTES);
	if ((written->was_live && object_split(written->seen, &arena, &seen)) ||
	    object_split(written->value, &arena, &new))
		wrong = "a value cannot be split";
	else
		wrong = check_columns(&seen, &new, before, after, written->number);
	arena_fini(&arena);
	return wrong;
}

static bool is_generation(const struct column_id *id)
{
	return bytes_equal(id->sub, BYTES_LITERAL("generation"));
}

const char *check_shown(enum thing_kind kind, struct bytes value, const struct fact_set *facts)
{
	struct object object;
	struct arena arena;
	struct thing thing;
	const char *wrong = NULL;

	if (!thing_read(kind, value, &thing))
		return "it is no whole object of its kind";
	arena_init(&arena, READ_ARENA_BYTES);
	if (object_split(value, &arena, &object))
		wrong = "it cannot be split";
	for (size_t i = 0; !wrong && i < object.count; i++) {
		uint64_t hash = value_hash(object.columns[i].bytes);
		bool found = is_generation(&object.columns[i].id);

		for (size_t j = 0; j < facts->count && !found; j++)
			found = facts->list[j].column == column_hash(&object.columns[i].id) &&
				facts->list[j].value == hash;
		if (!found)
			wrong = "a column of it is in no sibling";
	}
	arena_fini(&arena);
	return wrong;
}
