/* SPDX-License-Identifier: Apache-2.0 */
/* show.c - other rules, or another hub: what is visible is made anew, key by key, from states that
 * stay as they are.
 *
 * The writer gets the new scope in the first job, so that what is written from then on is ranked by
 * it; the jobs after it go through all keys.  A crash in between leaves some keys shown by the old
 * rules: every start goes through them (engine_start). */
#include "sync/engine/internal.h"

struct show_job {
	struct job job;
	struct scope *scope; /* the first job's, until the writer has it */
	struct bytes *keys;
	size_t count;
};

static enum err show_key(struct job *base, struct apply *apply, struct bytes key)
{
	struct stamper *stamper = base->engine->stamper;
	struct key_policy policy;
	struct apply_row row;
	struct row_meta meta;
	struct state state;
	struct visible visible;
	struct shown shown;
	struct arena arena;
	struct bytes bytes;
	enum err e = apply_get(apply, key, &row);

	arena_init(&arena, KEY_ARENA_BYTES);
	shown = (struct shown){row.live, row.kv.value};
	scope_policy(stamper->scope, key, &policy);
	if (!e)
		e = stamper_state(stamper, row.meta, row.newest_revision, &shown, &arena, &meta,
				  &state);
	if (!e)
		e = state_visible(&state, &policy.policy, &arena, &visible);
	if (!e && (visible.present != row.live ||
		   (row.live && !bytes_equal(visible.value, row.kv.value)))) {
		struct kv kv = {.key = key, .value = visible.value, .lease = row.kv.lease};

		shown = (struct shown){visible.present, visible.value};
		meta.merged = true;
		meta.wildcard = false;
		meta.touch_count = 0;
		e = apply_next_revision(apply);
		if (!e)
			e = stamper_reserve(stamper, apply_revision(apply));
		if (!e)
			e = meta_encode(&state, &shown, &arena, &meta.state);
		if (!e)
			e = stamper_row(stamper, &meta, apply_revision(apply), key, visible.value,
					&arena, &bytes);
		if (!e)
			e = visible.present ? apply_put(apply, &kv, bytes, true)
					    : apply_delete(apply, key, bytes, true);
	}
	arena_fini(&arena);
	return e;
}

static enum err run_show(struct job *base, struct apply *apply)
{
	struct show_job *job = container_of(base, struct show_job, job);
	struct stamper *stamper = base->engine->stamper;
	enum err e = ERR_OK;

	if (job->scope) {
		scope_free(stamper->scope);
		stamper->scope = job->scope;
		job->scope = NULL;
	}
	for (size_t i = 0; !e && i < job->count; i++)
		e = show_key(base, apply, job->keys[i]);
	return e;
}

static void show_done(struct job *base, enum err e)
{
	if (e && err_is_fault(e))
		engine_die(base->engine, e);
}

static void show_fini(struct job *base)
{
	scope_free(container_of(base, struct show_job, job)->scope);
}

static struct show_job *show_new(struct engine *engine)
{
	struct job *base = job_new(engine, NULL, sizeof(struct show_job));
	struct show_job *job;

	if (!base)
		return NULL;
	base->run = run_show;
	base->done = show_done;
	base->fini = show_fini;
	job = container_of(base, struct show_job, job);
	job->keys = arena_calloc(&base->arena, PAGE_KEYS_MAX, sizeof(struct bytes));
	if (job->keys)
		return job;
	job_free(base);
	engine_die(engine, fault(ERR_NOMEM, "keys to show"));
	return NULL;
}

static enum err show_keys(struct engine *engine, struct show_job *job)
{
	struct store_keys *keys = NULL;
	struct keys_row row;
	bool found = true;
	int64_t revision;
	enum group group;
	struct keys_op op = {.key = bytes_of("\0", 1), .end = bytes_of("\0", 1)};
	enum err e = store_keys_open(engine->reader, &op, &keys, &revision);

	while (!e && job && found) {
		e = store_keys_next(keys, &row, &found);
		if (e || !found || !row.meta.size ||
		    !scope_has(engine->stamper->scope, row.key, &group))
			continue;
		if (job->count == PAGE_KEYS_MAX) {
			job_add(&job->job);
			job = show_new(engine);
		}
		if (job && !arena_copy(&job->job.arena, row.key, &job->keys[job->count++]))
			e = fault(ERR_NOMEM, "keys to show");
	}
	store_keys_close(keys);
	if (job && e)
		job_free(&job->job);
	else if (job)
		job_add(&job->job);
	return e;
}

enum err show_all(struct engine *engine)
{
	struct show_job *job = show_new(engine);
	enum err e;

	if (!job)
		return ERR_NOMEM;
	e = scope_new(engine->config.rules, engine->clouds, engine->cloud_count, &job->scope);
	if (e) {
		job_free(&job->job);
		return e;
	}
	return show_keys(engine, job);
}
