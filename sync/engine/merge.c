/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/engine/merge.h"

#include "sync/engine/gate.h"

#include <assert.h>

/* One key on its way through. */
struct one {
	struct merge *merge;
	const struct entry *entry;
	struct apply_row row;
	struct row_meta old_meta;
	struct state old;
	struct bytes value; /* of the entry, whole */
	struct state merged;
	struct context here; /* what this site has taken in of the key */
	struct context there;
	struct vector here_claims; /* more than one claim, as one vector */
	struct vector there_claims;
	struct dot *unknown; /* touches that this site had not heard of */
	size_t unknown_count;
	bool changed;
	struct visible visible;
	const char *held; /* why it is not shown; NULL: it is */
};

enum err merge_begin(struct merge *merge, struct apply *apply)
{
	merge->apply = apply;
	merge->sender_revision = 0;
	merge->first = apply_revision(apply);
	merge->last = merge->first - 1;
	arena_init(&merge->arena, KEY_ARENA_BYTES);
	return clock_at(&merge->engine->clock, merge->group, merge->first - 1, &merge->local);
}

void merge_fini(struct merge *merge)
{
	vector_fini(&merge->local);
	arena_fini(&merge->arena);
}

/* --- contexts -------------------------------------------------------------------------------- */

/* Adds a claim to a context that holds one at most as it is. */
static enum err add_claim(struct context *context, struct vector *joined, const struct claim *claim)
{
	enum err e = ERR_OK;

	if (!claim)
		return ERR_OK;
	if (!context->session) {
		context->session = &claim->vector;
		return ERR_OK;
	}
	if (context->session != joined)
		e = vector_copy(context->session, joined);
	if (!e)
		e = vector_merge(joined, &claim->vector);
	context->session = joined;
	return e;
}

static const struct claim *sent_claim(const struct merge *merge, uint64_t id)
{
	for (size_t i = 0; i < merge->claim_count; i++)
		if (merge->claims[i].id == id)
			return &merge->claims[i];
	return NULL;
}

static enum err find_contexts(struct one *one)
{
	struct merge *merge = one->merge;
	enum err e = ERR_OK;

	one->here.vector = &merge->local;
	one->there.vector = merge->sender;
	for (size_t i = 0; !e && i < one->old_meta.claim_count; i++)
		e = add_claim(&one->here, &one->here_claims,
			      claims_find(merge->known, one->old_meta.claims[i]));
	for (size_t i = 0; !e && i < one->entry->claim_count; i++)
		e = add_claim(&one->there, &one->there_claims,
			      sent_claim(merge, one->entry->claims[i]));
	return e;
}

/* --- the two states -------------------------------------------------------------------------- */

static enum err whole_value(struct one *one)
{
	const struct entry *entry = one->entry;
	enum err e;

	if (!entry->live || !entry->is_delta) {
		one->value = entry->value;
		return ERR_OK;
	}
	if (!one->row.live || value_digest(one->row.kv.value) != entry->base_digest)
		return ERR_AGAIN;
	e = delta_apply(one->merge->engine->writer_deltas, one->row.kv.value, entry->value,
			&one->merge->arena, &one->value);
	if (e == ERR_MALFORMED || (!e && value_digest(one->value) != entry->value_digest))
		return ERR_AGAIN;
	return e;
}

static enum err read_states(struct one *one, struct state *ret_theirs)
{
	struct merge *merge = one->merge;
	const struct entry *entry = one->entry;
	struct shown shown;
	enum err e = apply_get(merge->apply, entry->key, &one->row);

	if (e)
		return e;
	shown = (struct shown){one->row.live, one->row.kv.value, NULL};
	e = stamper_state(merge->engine->stamper, one->row.meta, one->row.newest_revision, &shown,
			  &merge->arena, &one->old_meta, &one->old);
	if (!e)
		e = whole_value(one);
	if (e)
		return e;
	*ret_theirs = (struct state){0};
	if (!entry->meta.size)
		return entry->live ? ERR_MALFORMED : ERR_OK;
	shown = (struct shown){entry->live, one->value, NULL};
	return meta_decode(entry->meta, &shown, NULL, &merge->arena, ret_theirs);
}

/* The mistake of old: what no rule chooses is dropped. */
static enum err discard_losers(struct state *state, const struct policy *policy,
			       struct arena *arena)
{
	struct judge judge = {.policy = policy};
	enum err e = state_facts(state, policy, arena, &judge.facts);

	for (size_t i = 0; i < state->count; i++) {
		for (size_t j = 0; j < state->births[i].count; j++) {
			struct cell *cell = &state->births[i].cells[j];
			struct sibling *best = &cell->siblings[0];

			for (size_t k = 1; k < cell->count; k++)
				if (sibling_compare(&judge, &cell->id, &cell->siblings[k], best) >
				    0)
					best = &cell->siblings[k];
			cell->siblings = best;
			cell->count = 1;
		}
	}
	return e;
}

static enum err note_touches(struct one *one)
{
	const struct entry *entry = one->entry;

	one->unknown =
		arena_calloc(&one->merge->arena, entry->touch_count + 1, sizeof(*one->unknown));
	if (!one->unknown)
		return fault(ERR_NOMEM, "%zu touches", entry->touch_count);
	for (size_t i = 0; i < entry->touch_count; i++)
		if (!context_has(&one->here, &entry->touches[i]))
			one->unknown[one->unknown_count++] = entry->touches[i];
	return ERR_OK;
}

static void hear_stamps(struct merge *merge, const struct state *theirs)
{
	struct stamper *stamper = merge->engine->stamper;
	hlc_stamp newest = 0;
	int64_t wall_ms = stamper->config.host.wall_ms(stamper->config.host.context);

	for (size_t i = 0; i < theirs->count; i++)
		for (size_t j = 0; j < theirs->births[i].count; j++) {
			const struct cell *cell = &theirs->births[i].cells[j];

			for (size_t k = 0; k < cell->count; k++)
				if (cell->siblings[k].stamp > newest)
					newest = cell->siblings[k].stamp;
		}
	if (newest && hlc_receive(&stamper->hlc, wall_ms, newest) == HLC_AHEAD)
		merge->counts.clocks_ahead++;
}

static enum err merge_states(struct one *one)
{
	struct merge *merge = one->merge;
	struct key_policy policy;
	struct state theirs;
	struct side a = {&one->old, &one->here}, b = {&theirs, &one->there};
	enum err e = read_states(one, &theirs);

	if (!e)
		e = find_contexts(one);
	if (!e)
		e = state_merge(&a, &b, &merge->arena, &one->merged);
	if (!e)
		e = note_touches(one);
	if (e)
		return e;
	hear_stamps(merge, &theirs);
	scope_policy(merge->engine->stamper->scope, one->entry->key, &policy);
	if (mistake(&merge->engine->config, MISTAKE_DISCARD))
		e = discard_losers(&one->merged, &policy.policy, &merge->arena);
	if (e)
		return e;
	one->changed = !state_equal(&one->old, &one->merged);
	return state_visible(&one->merged, &policy.policy, &merge->arena, &one->visible);
}

/* --- the row --------------------------------------------------------------------------------- */

static bool is_wildcard(const struct one *one)
{
	const struct merge *merge = one->merge;

	if (mistake(&merge->engine->config, MISTAKE_NO_WILDCARD | MISTAKE_LIVE_DOTS))
		return false;
	return merge->session || (one->entry->wildcard && (one->changed || merge->grew)) ||
	       (one->changed && !one->unknown_count);
}

static bool has_claim(const struct row_meta *meta, uint64_t id)
{
	for (size_t i = 0; i < meta->claim_count; i++)
		if (meta->claims[i] == id)
			return true;
	return false;
}

static void add_row_claim(const struct merge *merge, struct row_meta *meta, uint64_t id)
{
	const struct claim *claim = claims_find(merge->known, id);

	if (claim && !has_claim(meta, id) && meta->claim_count < CLAIMS_MAX)
		meta->claims[meta->claim_count++] = id;
}

static enum err row_claims(struct one *one, struct row_meta *meta)
{
	const struct merge *merge = one->merge;

	meta->claims = arena_calloc(&one->merge->arena, CLAIMS_MAX, sizeof(*meta->claims));
	if (!meta->claims)
		return fault(ERR_NOMEM, "the claims of a row");
	for (size_t i = 0; i < one->old_meta.claim_count; i++)
		add_row_claim(merge, meta, one->old_meta.claims[i]);
	for (size_t i = 0; i < one->entry->claim_count; i++)
		add_row_claim(merge, meta, one->entry->claims[i]);
	if (merge->session && !mistake(&merge->engine->config, MISTAKE_NO_SESSION_CONTEXT))
		add_row_claim(merge, meta, merge->session);
	return ERR_OK;
}

static enum err live_dots(struct one *one, struct row_meta *meta)
{
	size_t count = 0;

	for (size_t i = 0; i < one->merged.count; i++)
		for (size_t j = 0; j < one->merged.births[i].count; j++)
			count += one->merged.births[i].cells[j].count;
	meta->touches = arena_calloc(&one->merge->arena, count + 1, sizeof(*meta->touches));
	meta->touch_count = 0;
	if (!meta->touches)
		return fault(ERR_NOMEM, "touches");
	for (size_t i = 0; i < one->merged.count; i++)
		for (size_t j = 0; j < one->merged.births[i].count; j++)
			for (size_t k = 0; k < one->merged.births[i].cells[j].count; k++)
				meta->touches[meta->touch_count++] =
					one->merged.births[i].cells[j].siblings[k].dot;
	return ERR_OK;
}

/* What clients see after the row. */
static struct shown shown_after(const struct one *one)
{
	if (one->held)
		return (struct shown){one->row.live, one->row.kv.value, NULL};
	return (struct shown){one->visible.present, one->visible.value, NULL};
}

static enum err make_meta(struct one *one, const struct shown *shown, struct bytes *ret_meta)
{
	struct merge *merge = one->merge;
	struct row_meta meta = {
		.merged = true,
		.wildcard = is_wildcard(one),
		.touches = one->unknown,
		.touch_count = one->unknown_count,
	};
	enum err e = row_claims(one, &meta);

	if (!e && mistake(&merge->engine->config, MISTAKE_LIVE_DOTS))
		e = live_dots(one, &meta);
	if (!e)
		e = meta_encode(&one->merged, shown, &merge->arena, &meta.state);
	merge->counts.wildcards += meta.wildcard;
	return e ? e
		 : stamper_row(merge->engine->stamper, &meta, apply_revision(merge->apply),
			       one->entry->key, shown->value, &merge->arena, ret_meta);
}

static enum err put_row(struct one *one, const struct shown *shown, bool visible)
{
	struct merge *merge = one->merge;
	struct kv kv = {.key = one->entry->key, .value = shown->value};
	struct bytes meta;
	enum err e = stamper_reserve(merge->engine->stamper, apply_revision(merge->apply));

	if (!e)
		e = make_meta(one, shown, &meta);
	if (e)
		return e;
	merge->last = apply_revision(merge->apply);
	merge->counts.rows++;
	if (visible && !shown->present && !one->visible.present &&
	    ++merge->counts.deletes > merge->deletes_left && merge->deletes_left >= 0)
		return ERR_TOO_MANY_REQUESTS;
	if (!visible)
		return shown->present ? apply_put(merge->apply, &kv, meta, false)
				      : apply_delete(merge->apply, kv.key, meta, false);
	return shown->present ? apply_put(merge->apply, &kv, meta, true)
			      : apply_delete(merge->apply, kv.key, meta, true);
}

static enum err uid_of(struct bytes value, struct arena *arena, struct bytes *ret_uid)
{
	struct object object;
	enum err e = object_split(value, arena, &object);

	*ret_uid = e ? bytes_of(NULL, 0) : object.uid;
	return e;
}

/* Another object under the same name: watchers must see the old one go. */
static enum err delete_first(struct one *one, const struct shown *shown)
{
	struct merge *merge = one->merge;
	struct shown nothing = {.present = false};
	struct bytes uid = {0};
	enum err e;

	if (!one->row.live || !shown->present || bytes_equal(one->row.kv.value, shown->value))
		return ERR_OK;
	e = uid_of(one->row.kv.value, &merge->arena, &uid);
	if (e || bytes_equal(uid, one->visible.uid))
		return e;
	merge->counts.uid_conflicts++;
	e = put_row(one, &nothing, true);
	return e ? e : apply_next_revision(merge->apply);
}

static enum err write_row(struct one *one)
{
	struct merge *merge = one->merge;
	struct shown shown = shown_after(one);
	bool visible = shown.present != one->row.live ||
		       (shown.present && !bytes_equal(shown.value, one->row.kv.value));
	enum err e = ERR_OK;

	if (one->entry->revision != merge->sender_revision || merge->session)
		e = apply_next_revision(merge->apply);
	merge->sender_revision = one->entry->revision;
	if (!e)
		e = delete_first(one, &shown);
	if (!e)
		e = put_row(one, &shown, visible);
	if (!e && merge->written)
		merge->written[merge->written_count++] = one->entry->key;
	return e;
}

/* The object's home does it; where none is known a hub; and every site where there is none. */
static enum err completes_here(struct one *one, bool *ret_here)
{
	const struct engine *engine = one->merge->engine;
	struct actor self = identity_self(&engine->stamper->identity);
	struct key_policy policy;
	struct site home;
	bool known = false;
	enum err e;

	scope_policy(engine->stamper->scope, one->entry->key, &policy);
	e = rules_home(&policy.subject, &one->merged, &one->merge->arena, &known, &home);
	if (known)
		*ret_here = !memcmp(&home, &self.site, sizeof(home));
	else
		*ret_here = engine->config.is_hub || !engine->stamper->scope->site_count;
	return e;
}

static enum err note_due(struct one *one)
{
	struct merge *merge = one->merge;
	struct due *due = merge->due ? &merge->due[merge->due_count] : NULL;
	bool is_ours;
	enum err e;

	if (!one->visible.deletion_due || one->held || !due)
		return ERR_OK;
	e = completes_here(one, &is_ours);
	if (e || !is_ours)
		return e;
	if (!arena_copy(merge->keys_arena, one->entry->key, &due->key))
		return fault(ERR_NOMEM, "a key");
	due->revision = merge->last;
	merge->due_count++;
	return ERR_OK;
}

static void count_siblings(struct one *one)
{
	for (size_t i = 0; i < one->merged.count; i++)
		for (size_t j = 0; j < one->merged.births[i].count; j++)
			if (one->merged.births[i].cells[j].count > 1) {
				one->merge->counts.siblings++;
				return;
			}
}

static enum err merge_one(struct one *one)
{
	struct merge *merge = one->merge;
	enum err e = merge_states(one);

	if (e || (!one->changed && !one->unknown_count && !(one->entry->wildcard && merge->grew)))
		return e;
	count_siblings(one);
	e = gate_decide(merge, one->entry, &one->row, &one->merged, &one->visible, &one->held);
	if (!e)
		e = write_row(one);
	if (!e)
		e = gate_note(merge, one->entry->key, one->held);
	return e ? e : note_due(one);
}

enum err merge_entry(struct merge *merge, const struct entry *entry)
{
	struct one one = {.merge = merge, .entry = entry};
	enum group group;
	enum err e;

	/* What never travels is not taken either, whoever sends it. */
	if (!scope_has(merge->engine->stamper->scope, entry->key, &group) || group != merge->group)
		return ERR_OK;
	arena_fini(&merge->arena);
	arena_init(&merge->arena, KEY_ARENA_BYTES);
	e = merge_one(&one);
	vector_fini(&one.here_claims);
	vector_fini(&one.there_claims);
	return e;
}
