/* SPDX-License-Identifier: Apache-2.0 */
/* heal_anew.c - the last part of a new incarnation: rows that the old one wrote and that are told
 * anew as the new one's (heal.c tells the whole). */
#include "sync/engine/internal.h"

#include <stdlib.h>

struct anew_job {
	struct job job;
	struct bytes *keys; /* in the job's arena */
	size_t count;
	bool is_last;
	int64_t first;
	int64_t last;
};

/* --- rows anew -------------------------------------------------------------------------------- */

static bool is_old(const struct healing *heal, const struct dot *dot)
{
	return !actor_compare(&dot->actor, &heal->old) && dot->revision > heal->common;
}

/* Gives dots to the new incarnation; whether there were any. */
static bool give_over(const struct healing *heal, const struct actor *new, struct state *state)
{
	bool any = false;

	for (size_t i = 0; i < state->count; i++) {
		struct birth *birth = &state->births[i];

		if (is_old(heal, &birth->dot)) {
			birth->dot.actor = *new;
			any = true;
		}
		for (size_t j = 0; j < birth->count; j++) {
			for (size_t k = 0; k < birth->cells[j].count; k++) {
				struct sibling *sibling = &birth->cells[j].siblings[k];

				if (!is_old(heal, &sibling->dot))
					continue;
				sibling->dot.actor = *new;
				any = true;
			}
		}
	}
	return any;
}

static int compare_births(const void *a, const void *b)
{
	return dot_compare(&((const struct birth *)a)->dot, &((const struct birth *)b)->dot);
}

static int compare_siblings(const void *a, const void *b)
{
	return dot_compare(&((const struct sibling *)a)->dot, &((const struct sibling *)b)->dot);
}

/* Another incarnation sorts elsewhere. */
static void sort_state(struct state *state)
{
	for (size_t i = 0; i < state->count; i++)
		for (size_t j = 0; j < state->births[i].count; j++)
			qsort(state->births[i].cells[j].siblings, state->births[i].cells[j].count,
			      sizeof(struct sibling), compare_siblings);
	if (state->count)
		qsort(state->births, state->count, sizeof(*state->births), compare_births);
}

static enum err write_anew(struct anew_job *job, struct apply *apply, struct bytes key)
{
	struct engine *engine = job->job.engine;
	struct stamper *stamper = engine->stamper;
	struct actor self = identity_self(&stamper->identity);
	struct apply_row row;
	struct row_meta meta;
	struct state state;
	struct arena arena;
	struct bytes bytes;
	struct shown shown;
	bool deleted;
	enum err e = apply_get(apply, key, &row);

	arena_init(&arena, KEY_ARENA_BYTES);
	shown = (struct shown){row.live, row.kv.value, NULL};
	if (!e)
		e = stamper_state(stamper, row.meta, row.newest_revision, &shown, &arena, &meta,
				  &state);
	deleted = !e && !state.count;
	if (!e && (give_over(&engine->heal, &self, &state) || deleted)) {
		sort_state(&state);
		meta.merged = meta.wildcard = true;
		meta.touch_count = 0;
		e = apply_next_revision(apply);
		if (!e)
			e = stamper_reserve(stamper, apply_revision(apply));
		if (!e)
			e = meta_encode(&state, &shown, &arena, &meta.state);
		if (!e)
			e = stamper_row(stamper, &meta, apply_revision(apply), key, shown.value,
					&arena, &bytes);
		if (!e)
			e = row.live ? apply_put(apply, &row.kv, bytes, false)
				     : apply_delete(apply, key, bytes, false);
	}
	arena_fini(&arena);
	return e;
}

static enum err run_anew(struct job *base, struct apply *apply)
{
	struct anew_job *job = container_of(base, struct anew_job, job);
	struct engine *engine = base->engine;
	enum err e = ERR_OK;

	job->first = apply_revision(apply);
	for (size_t i = 0; !e && i < job->count; i++)
		e = write_anew(job, apply, job->keys[i]);
	if (!e)
		e = apply_next_revision(apply);
	job->last = apply_revision(apply) - 1;
	if (e || !job->is_last)
		return e;
	for (int group = 0; !e && group < GROUPS; group++)
		e = clock_put_base(apply, &engine->clock, group, job->last, NULL);
	return e ? e : heal_put(apply, &engine->stamper->identity, NULL);
}

static void anew_done(struct job *base, enum err e)
{
	struct anew_job *job = container_of(base, struct anew_job, job);
	struct engine *engine = base->engine;

	for (int group = 0; !e && job->is_last && group < GROUPS; group++)
		e = clock_fold(&engine->clock, group, job->last);
	if (e) {
		engine_die(engine, e);
		return;
	}
	if (!job->is_last)
		return;
	engine->healing = false;
	heal_ready(engine);
}

/* --- gathering keys --------------------------------------------------------------------------- */

struct gathering {
	struct engine *engine;
	struct anew_job *job;
};

static bool take_key(struct gathering *gathering, struct bytes key)
{
	struct anew_job *job = gathering->job;
	struct job *base;

	if (job && job->count == PAGE_KEYS_MAX) {
		gathering->job = NULL;
		job_add(&job->job);
	}
	if (!gathering->job) {
		base = job_new(gathering->engine, NULL, sizeof(struct anew_job));
		if (!base)
			return false;
		base->run = run_anew;
		base->done = anew_done;
		gathering->job = container_of(base, struct anew_job, job);
		gathering->job->keys =
			arena_calloc(&base->arena, PAGE_KEYS_MAX, sizeof(struct bytes));
	}
	job = gathering->job;
	return job->keys &&
	       (!key.size || arena_copy(&job->job.arena, key, &job->keys[job->count++]));
}

static enum err visit_log(void *context, const struct log_row *row)
{
	struct gathering *gathering = context;
	enum group group;

	if (row->merged || !scope_has(gathering->engine->stamper->scope, row->key, &group) ||
	    take_key(gathering, row->key))
		return ERR_OK;
	return fault(ERR_NOMEM, "keys of an incarnation");
}

/* Where the log is whole it names every key that the old incarnation wrote. */
static enum err gather_log(struct gathering *gathering)
{
	struct engine *engine = gathering->engine;
	int64_t at = engine->heal.common;
	enum err e = ERR_OK;

	while (!e && at < engine->heal.end) {
		struct log_op op = {.from = at,
				    .to = engine->heal.end,
				    .rows_max = PAGE_KEYS_MAX,
				    .bytes_max = WINDOW_BYTES_DEFAULT};

		e = store_log(engine->reader, &op, visit_log, gathering, &at);
	}
	return e;
}

/* Else every key is looked at; deletes that nobody heard of are undone by the others' copies. */
static enum err gather_keys(struct gathering *gathering)
{
	struct engine *engine = gathering->engine;
	struct store_keys *keys = NULL;
	struct keys_row row;
	bool found = true;
	int64_t revision;
	enum group group;
	struct keys_op op = {.key = bytes_of("\0", 1), .end = bytes_of("\0", 1)};
	enum err e = store_keys_open(engine->reader, &op, &keys, &revision);

	while (!e && found) {
		e = store_keys_next(keys, &row, &found);
		if (!e && found && scope_has(engine->stamper->scope, row.key, &group) &&
		    !take_key(gathering, row.key))
			e = fault(ERR_NOMEM, "keys of an incarnation");
	}
	store_keys_close(keys);
	return e;
}

void heal_go_on(struct engine *engine)
{
	struct gathering gathering = {.engine = engine};
	enum err e = ERR_OK;

	if (engine->heal.common < engine->heal.end)
		e = engine->heal.common < store_swept(engine->store) ? gather_keys(&gathering)
								     : gather_log(&gathering);
	/* Also when there is no key: the last job ends it. */
	if (!e && !take_key(&gathering, bytes_of(NULL, 0)))
		e = ERR_NOMEM;
	if (e) {
		engine_die(engine, e);
		return;
	}
	gathering.job->is_last = true;
	job_add(&gathering.job->job);
}
