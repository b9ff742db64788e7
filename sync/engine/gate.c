/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/engine/gate.h"

/* Columns that a peer made up may splice to something that no apiserver wrote. */
static enum err is_forged(struct merge *merge, const struct apply_row *row,
			  const struct visible *visible, bool *ret_forged)
{
	struct object object;
	enum err e;

	*ret_forged = false;
	if (!visible->present || (row->live && bytes_equal(visible->value, row->kv.value)))
		return ERR_OK;
	e = object_split(visible->value, &merge->arena, &object);
	*ret_forged = !e && object.format == OBJECT_OPAQUE && visible->uid.size;
	return e;
}

/* What the entry touched, or where it cannot say so what of its state is new here. */
static bool may_write(struct merge *merge, const struct entry *entry, const struct state *merged)
{
	const struct engine_config *config = &merge->engine->config;
	void *context = config->host.context;

	if (!config->may_write)
		return true;
	for (size_t i = 0; i < entry->touch_count; i++)
		if (!vector_has(&merge->local, &entry->touches[i]) &&
		    !config->may_write(context, &entry->touches[i].actor, entry->key))
			return false;
	if (entry->touch_count && !entry->wildcard)
		return true;
	for (size_t i = 0; i < merged->count; i++)
		for (size_t j = 0; j < merged->births[i].count; j++) {
			const struct cell *cell = &merged->births[i].cells[j];

			for (size_t k = 0; k < cell->count; k++)
				if (!vector_has(&merge->local, &cell->siblings[k].dot) &&
				    !config->may_write(context, &cell->siblings[k].dot.actor,
						       entry->key))
					return false;
		}
	return merged->count || config->may_write(context, &merge->peer, entry->key);
}

enum err gate_decide(struct merge *merge, const struct entry *entry, const struct apply_row *row,
		     const struct state *merged, const struct visible *visible,
		     const char **ret_why)
{
	bool forged;
	enum err e = is_forged(merge, row, visible, &forged);

	*ret_why = NULL;
	if (forged)
		*ret_why = "its parts do not make an object that an apiserver can have written";
	else if (!may_write(merge, entry, merged))
		*ret_why = "its writer has no right to write this key here";
	return e;
}

/* --- records ---------------------------------------------------------------------------------- */

enum err gate_forget(struct stamper *stamper, struct apply *apply, struct bytes key,
		     struct arena *arena)
{
	struct bytes name, value;
	bool found = false;
	enum err e;

	if (!stamper->held)
		return ERR_OK;
	if (!record_held(key, arena, &name))
		return fault(ERR_NOMEM, "a name");
	e = apply_get_state(apply, name, &found, &value);
	if (e || !found)
		return e;
	stamper->held--;
	return apply_delete_state(apply, name);
}

enum err gate_note(struct merge *merge, struct bytes key, const char *why)
{
	struct stamper *stamper = merge->engine->stamper;
	struct bytes name;
	enum err e = gate_forget(stamper, merge->apply, key, &merge->arena);

	if (e || !why)
		return e;
	if (!record_held(key, &merge->arena, &name))
		return fault(ERR_NOMEM, "a name");
	stamper->held++;
	merge->counts.held++;
	return apply_set_state(merge->apply, name, bytes_of_string(why));
}

/* --- the breaker ------------------------------------------------------------------------------ */

int64_t gate_deletes_left(struct engine_peer *peer)
{
	const struct engine_config *config = &peer->engine->config;
	int64_t now_ms = engine_now(peer->engine);
	struct store_stats stats;
	int64_t share;

	if (!config->breaker_deletes || peer->is_admitted)
		return -1;
	if (now_ms - peer->period_ms > BREAKER_PERIOD_MS) {
		peer->period_ms = now_ms;
		peer->deletes = 0;
	}
	store_stats(peer->engine->store, &stats);
	share = stats.key_count / 1000 * config->breaker_permille;
	share = share > config->breaker_deletes ? share : config->breaker_deletes;
	return share > peer->deletes ? share - peer->deletes : 0;
}

void gate_count(struct engine_peer *peer, const struct merge *merge, enum err e)
{
	if (e != ERR_TOO_MANY_REQUESTS) {
		peer->deletes += e ? 0 : merge->counts.deletes;
		return;
	}
	peer->status.is_stopped = true;
	engine_notice(peer->engine, NOTICE_BREAKER, peer, bytes_of(NULL, 0),
		      "this peer would delete more of this site than it may in ten minutes: look"
		      " at what it wants to delete, then admit it or repair it");
}

void engine_admit(struct engine *engine, struct engine_peer *peer)
{
	peer->is_admitted = true;
	peer->status.is_stopped = false;
	for (int group = 0; group < GROUPS; group++)
		if (peer->pulls[group].on)
			pull_retry(peer, group, RETRY_OUT_OF_ORDER);
	engine_pump(engine);
}
