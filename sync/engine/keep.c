/* SPDX-License-Identifier: Apache-2.0 */
/* keep.c - what the engine keeps within bounds: steps of the clock, rows held back from the sweep,
 * the journal of closed siblings. */
#include "sync/engine/internal.h"

/* --- steps ------------------------------------------------------------------------------------ */

struct fold_job {
	struct job job;
	int64_t revisions[GROUPS]; /* 0: nothing to fold */
};

static enum err run_fold(struct job *base, struct apply *apply)
{
	struct fold_job *job = container_of(base, struct fold_job, job);
	enum err e = ERR_OK;

	for (int group = 0; !e && group < GROUPS; group++)
		if (job->revisions[group])
			e = clock_put_base(apply, &base->engine->clock, group,
					   job->revisions[group], NULL);
	return e;
}

static void fold_done(struct job *base, enum err e)
{
	struct fold_job *job = container_of(base, struct fold_job, job);

	for (int group = 0; !e && group < GROUPS; group++)
		if (job->revisions[group])
			e = clock_fold(&base->engine->clock, group, job->revisions[group]);
	if (e && err_is_fault(e))
		engine_die(base->engine, e);
}

/* Nobody starts below what is swept, so nobody needs the steps there; and more than the bound are
 * folded whoever needs them: a window then reaches further. */
static int64_t fold_to(const struct engine *engine, enum group number)
{
	const struct group_clock *group = &engine->clock.groups[number];
	int64_t swept = store_swept(engine->store);

	if (group->count > CLOCK_STEPS_MAX / 2)
		return group->steps[group->count / 2].last;
	if (group->count > CLOCK_STEPS_MAX / 16 && group->steps[0].last <= swept)
		return swept;
	return 0;
}

static void fold(struct engine *engine)
{
	struct job *base;
	struct fold_job *job;
	bool any = false;
	int64_t revisions[GROUPS];

	for (int group = 0; group < GROUPS; group++) {
		revisions[group] = fold_to(engine, group);
		any |= revisions[group] > 0;
	}
	base = any ? job_new(engine, NULL, sizeof(*job)) : NULL;
	if (!base)
		return;
	job = container_of(base, struct fold_job, job);
	memcpy(job->revisions, revisions, sizeof(revisions));
	base->run = run_fold;
	base->done = fold_done;
	job_add(base);
}

/* --- rows that peers still need --------------------------------------------------------------- */

static int64_t needed_by(const struct peer_record *record)
{
	int64_t needed = INT64_MAX;

	for (int group = 0; group < GROUPS; group++)
		if (record->acked[group] && record->acked[group] < needed)
			needed = record->acked[group];
	return needed;
}

static void hold(struct engine *engine)
{
	int64_t head = store_head(engine->store);
	int64_t lowest = INT64_MAX;

	for (size_t i = 0; i < engine->record_count; i++) {
		int64_t needed = needed_by(&engine->records[i]);

		if (needed < lowest && head - needed <= LOG_HOLD_REVISIONS_MAX)
			lowest = needed;
	}
	store_log_hold(engine->store, lowest);
}

/* --- the journal ------------------------------------------------------------------------------ */

static enum err run_prune(struct job *base, struct apply *apply)
{
	struct record_name from, end;
	int64_t deleted;

	(void)base;
	record_range(RECORD_JOURNAL, &from, &end);
	return apply_delete_states(apply, record_bytes(&from), record_bytes(&end),
				   JOURNAL_BYTES_MAX / JOURNAL_ENTRY_BYTES / 8, &deleted);
}

static void prune_done(struct job *base, enum err e)
{
	struct stamper *stamper = base->engine->stamper;

	if (!e)
		atomic_fetch_sub(&stamper->journal_bytes, (uint64_t)JOURNAL_BYTES_MAX / 8);
	else if (err_is_fault(e))
		engine_die(base->engine, e);
}

static void prune(struct engine *engine)
{
	struct job *job;

	if (atomic_load(&engine->stamper->journal_bytes) <= (uint64_t)JOURNAL_BYTES_MAX)
		return;
	job = job_new(engine, NULL, sizeof(*job));
	if (!job)
		return;
	job->run = run_prune;
	job->done = prune_done;
	job_add(job);
}

static bool count_entry(void *context, struct bytes name, struct bytes value)
{
	uint64_t *bytes = context;

	*bytes += name.size + value.size;
	return true;
}

enum err keep_load(struct engine *engine)
{
	struct record_name from, end;
	uint64_t bytes = 0;
	enum err e;

	record_range(RECORD_JOURNAL, &from, &end);
	e = store_state_scan(engine->reader, record_bytes(&from), record_bytes(&end), count_entry,
			     &bytes);
	atomic_store(&engine->stamper->journal_bytes, bytes);
	record_range(RECORD_HELD, &from, &end);
	bytes = 0;
	if (!e)
		e = store_state_scan(engine->reader, record_bytes(&from), record_bytes(&end),
				     count_entry, &bytes);
	engine->stamper->held = bytes;
	hold(engine);
	return e;
}

void keep_tick(struct engine *engine)
{
	hold(engine);
	if (engine->running || !list_is_empty(&engine->jobs))
		return;
	fold(engine);
	prune(engine);
}
