/* SPDX-License-Identifier: Apache-2.0 */
/* show.c - other rules, or another hub: what is visible is made anew, key by key, from states that
 * stay as they are.
 *
 * The writer gets the new scope in the first job, so that what is written from then on is ranked by
 * it; the jobs after it go through all keys.  The last one notes by which rules and hubs all is
 * shown: a start that finds another note, after a crash in between or a change of the rules while
 * the site was down, goes through all keys again. */
#include "sync/engine/internal.h"

struct show_job {
	struct job job;
	struct scope *scope; /* the first job's, until the writer has it */
	struct bytes *keys;
	size_t count;
	bool is_last;
};

/* --- the note --------------------------------------------------------------------------------- */

enum err shown_put(const struct engine *engine, struct apply *apply)
{
	struct record_name name = record_shown();
	struct buffer buffer = BUFFER_INIT(PEERS_MAX * SITE_BYTES + RULES_HASH_BYTES);
	uint8_t hash[RULES_HASH_BYTES];
	enum err e;

	rules_hash(engine->config.rules, hash);
	e = buffer_append(&buffer, bytes_of(hash, sizeof(hash))) &&
			    buffer_append(&buffer, bytes_of(engine->clouds,
							    engine->cloud_count * SITE_BYTES))
		    ? apply_set_state(apply, record_bytes(&name), buffer_bytes(&buffer))
		    : fault(ERR_NOMEM, "the record of hubs");
	buffer_fini(&buffer);
	return e;
}

static enum err take_hubs(struct engine *engine, struct bytes value)
{
	struct scope *scope;
	bool grew;
	enum err e = ERR_OK;

	for (size_t at = RULES_HASH_BYTES; !e && at + SITE_BYTES <= value.size; at += SITE_BYTES)
		e = engine_add_cloud(engine, (const struct site *)(value.data + at), &grew);
	if (!e)
		e = scope_new(engine->config.rules, engine->clouds, engine->cloud_count, &scope);
	if (e)
		return e;
	scope_free(engine->stamper->scope);
	engine->stamper->scope = scope;
	return ERR_OK;
}

enum err shown_load(struct engine *engine)
{
	struct record_name name = record_shown();
	uint8_t hash[RULES_HASH_BYTES];
	struct arena arena;
	struct bytes value = {0};
	bool found = false;
	enum err e;

	rules_hash(engine->config.rules, hash);
	arena_init(&arena, (size_t)PEERS_MAX * SITE_BYTES + KIB);
	e = store_state_get(engine->reader, record_bytes(&name), &arena, &found, &value);
	engine->shows_other =
		!found || value.size < sizeof(hash) || memcmp(value.data, hash, sizeof(hash)) != 0;
	if (!e && found)
		e = take_hubs(engine, value);
	arena_fini(&arena);
	return e;
}

/* --- keys ------------------------------------------------------------------------------------- */

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
	shown = (struct shown){row.live, row.kv.value, NULL};
	scope_policy(stamper->scope, key, &policy);
	if (!e)
		e = stamper_state(stamper, row.meta, row.newest_revision, &shown, &arena, &meta,
				  &state);
	if (!e)
		e = state_visible(&state, &policy.policy, &arena, &visible);
	if (!e && (visible.present != row.live ||
		   (row.live && !bytes_equal(visible.value, row.kv.value)))) {
		struct kv kv = {.key = key, .value = visible.value, .lease = row.kv.lease};

		shown = (struct shown){visible.present, visible.value, NULL};
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
	return e || !job->is_last ? e : shown_put(base->engine, apply);
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
	if (job && !e) {
		job->is_last = true;
		job_add(&job->job);
	}
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
