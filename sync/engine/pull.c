/* SPDX-License-Identifier: Apache-2.0 */
/* pull.c - windows of a peer's log on their way into this site.
 *
 * A window becomes one job: its entries, what the vector gains, and the cursor are one transaction.
 * What arrives out of order is asked for again; what was merged already changes nothing. */
#include "sync/engine/merge.h"

#include <stdlib.h>

struct window_job {
	struct job job;
	struct inbound *inbound;
	struct vector sender; /* the peer's, at the window's end */
	struct claims known;  /* this site's, those of the window included */
	struct clock_step step;
	struct peer_record record; /* as it will be */
	struct merge merge;
	bool gains_claims;
};

static const struct window *window_of(const struct window_job *job)
{
	return &job->inbound->message.as.window;
}

/* --- on the writer ---------------------------------------------------------------------------- */

static enum err put_peer(struct apply *apply, const struct peer_record *record)
{
	struct record_name name = record_peer(&record->site);
	struct buffer buffer = BUFFER_INIT(64 * KIB);
	enum err e = peer_record_encode(record, &buffer)
			     ? apply_set_state(apply, record_bytes(&name), buffer_bytes(&buffer))
			     : fault(ERR_NOMEM, "the record of a peer");

	buffer_fini(&buffer);
	return e;
}

static enum err run_window(struct job *base, struct apply *apply)
{
	struct window_job *job = container_of(base, struct window_job, job);
	const struct window *window = window_of(job);
	struct merge *merge = &job->merge;
	enum err e = merge_begin(merge, apply);

	for (size_t i = 0; !e && i < window->entry_count; i++)
		e = merge_entry(merge, &window->entries[i]);
	job->step.first = merge->first;
	job->step.last = merge->last;
	if (!e)
		e = clock_put_step(apply, window->group, &job->step);
	if (!e && job->gains_claims)
		e = claims_put(apply, &job->known);
	if (!e)
		e = put_peer(apply, &job->record);
	merge_fini(merge);
	return e;
}

/* --- back on the engine ----------------------------------------------------------------------- */

static void tell_counts(struct engine *engine, struct engine_peer *peer,
			const struct merge_counts *counts)
{
	const struct {
		unsigned count;
		enum notice_kind kind;
	} all[] = {
		{counts->siblings, NOTICE_SIBLINGS},
		{counts->uid_conflicts, NOTICE_UID_CONFLICT},
		{counts->held, NOTICE_HELD},
		{counts->wildcards, NOTICE_WILDCARD_RELAYED},
		{counts->clocks_ahead, NOTICE_CLOCK_AHEAD},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (all[i].count)
			engine_notice(engine, all[i].kind, peer, bytes_of(NULL, 0), "");
}

void pull_retry(struct engine_peer *peer, enum group group, enum retry_reason reason)
{
	const struct peer_record *record = peer_record_of(peer->engine, &peer->actor.site);
	struct message message = {.kind = MESSAGE_RETRY};
	struct pull *pull = &peer->pulls[group];

	message.as.retry = (struct retry){group, reason, record ? record->cursors[group] : 0};
	pull->retrying = true;
	pull->retried_ms = engine_now(peer->engine);
	pull->next = message.as.retry.cursor;
	pull->is_told = false;
	vector_fini(&pull->told);
	engine_send(peer, &message);
}

static void window_failed(struct window_job *job, enum err e)
{
	struct engine_peer *peer = job->job.peer;

	if (e == ERR_AGAIN && peer) {
		engine_notice(job->job.engine, NOTICE_BASE_UNKNOWN, peer, bytes_of(NULL, 0), "");
		pull_retry(peer, window_of(job)->group, RETRY_BASE_UNKNOWN);
	} else if (e == ERR_MALFORMED && peer) {
		engine_refuse(peer, REFUSED_PROTOCOL, "a window holds what no site writes");
	} else if (err_is_fault(e) || e == ERR_STOPPED) {
		engine_die(job->job.engine, e);
	} else if (peer && e != ERR_BUSY &&
		   e != ERR_TOO_MANY_REQUESTS) { /* a full disk: later again */
		peer->pulls[window_of(job)->group].retrying = true;
		peer->pulls[window_of(job)->group].retried_ms = engine_now(peer->engine);
	}
}

static enum err take_over(struct window_job *job)
{
	struct engine *engine = job->job.engine;
	const struct window *window = window_of(job);
	struct peer_record *record = peer_record_of(engine, &job->record.site);
	enum err e = clock_step(&engine->clock, window->group, &job->step);

	engine->clock_versions[window->group]++;
	if (record)
		*record = job->record;
	if (job->gains_claims) {
		claims_fini(&engine->claims);
		engine->claims = job->known;
		job->known.count = 0;
	}
	for (size_t i = 0; i < job->merge.written_count; i++)
		ask_late(engine, job->merge.written[i]);
	return e;
}

static void window_done(struct job *base, enum err e)
{
	struct window_job *job = container_of(base, struct window_job, job);
	struct engine *engine = base->engine;
	struct pull *pull = base->peer ? &base->peer->pulls[window_of(job)->group] : NULL;

	if (pull)
		pull->pending--;
	if (base->peer)
		gate_count(base->peer, &job->merge, e);
	if (!e)
		e = take_over(job);
	if (e) {
		window_failed(job, e);
		return;
	}
	tell_counts(engine, base->peer, &job->merge.counts);
	complete_due(engine, &job->merge);
	waiters_look(engine);
	if (base->peer) {
		base->peer->status.cursor[window_of(job)->group] = window_of(job)->to;
		base->peer->status.windows_received++;
		pull_ack(base->peer, window_of(job)->group, 0);
	}
}

static void window_fini(struct job *base)
{
	struct window_job *job = container_of(base, struct window_job, job);

	inbound_free(job->inbound);
	vector_fini(&job->sender);
	vector_fini(&job->step.delta);
	claims_fini(&job->known);
}

/* --- what a message means --------------------------------------------------------------------- */

enum err pull_gain(struct engine *engine, enum group group, const struct vector *from,
		   struct vector *ret_gain)
{
	struct vector gain = {0}, now = {0};
	enum err e = vector_copy(from, &gain);

	if (!e)
		e = clock_at(&engine->clock, group, store_head(engine->store), &now);
	if (!e)
		e = vector_subtract(&gain, &now);
	vector_fini(&now);
	if (e)
		vector_fini(&gain);
	else
		*ret_gain = gain;
	return e;
}

static enum err known_claims(struct window_job *job)
{
	struct engine *engine = job->job.engine;
	const struct window *window = window_of(job);
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < engine->claims.count; i++)
		e = claims_add(&job->known, engine->claims.list[i].id,
			       &engine->claims.list[i].vector);
	for (size_t i = 0; !e && i < window->claim_count; i++) {
		struct vector gain = {0};

		e = pull_gain(engine, window->group, &window->claims[i].vector, &gain);
		if (!e && gain.count && !claims_find(&job->known, window->claims[i].id)) {
			job->gains_claims = true;
			e = claims_add(&job->known, window->claims[i].id,
				       &window->claims[i].vector);
		}
		vector_fini(&gain);
	}
	return e;
}

/* Runs just before the job goes to the writer, when all before it is done. */
static enum err prepare(struct job *base)
{
	struct window_job *job = container_of(base, struct window_job, job);
	struct engine *engine = base->engine;
	const struct window *window = window_of(job);
	const struct peer_record *record = peer_record_of(engine, &job->record.site);
	enum err e;

	/* The peer may be another by now than when it sent this. */
	if (!base->peer)
		return ERR_BUSY;
	if (record)
		job->record = *record;
	if (window->from > job->record.cursors[window->group])
		return ERR_BUSY; /* the one before failed, and was asked for again */
	if (window->to > job->record.cursors[window->group])
		job->record.cursors[window->group] = window->to;
	if (job->record.incarnation != window->incarnation)
		job->record.point_count = 0; /* of a log that may have been another */
	job->record.incarnation = window->incarnation;
	if (window->entry_count)
		peer_record_point(
			&job->record,
			(struct chain_point){window->entries[window->entry_count - 1].revision,
					     window->chain});
	e = pull_gain(engine, window->group, &job->sender, &job->step.delta);
	if (!e)
		e = known_claims(job);
	job->merge = (struct merge){
		.engine = engine,
		.peer = base->peer ? base->peer->actor : (struct actor){.incarnation = 0},
		.deletes_left = base->peer ? gate_deletes_left(base->peer) : -1,
		.group = window->group,
		.sender = &job->sender,
		.claims = window->claims,
		.claim_count = window->claim_count,
		.known = &job->known,
		.grew = job->step.delta.count || job->gains_claims,
		.keys_arena = &base->arena,
		.written =
			arena_calloc(&base->arena, window->entry_count + 1, sizeof(struct bytes)),
		.due = arena_calloc(&base->arena, window->entry_count + 1, sizeof(struct due)),
	};
	if (!e && (!job->merge.written || !job->merge.due))
		e = fault(ERR_NOMEM, "a window of %zu entries", window->entry_count);
	return e;
}

/* The peer's vector at the end of the window. */
static enum err follow(struct engine_peer *peer, const struct window *window,
		       struct vector *ret_sender)
{
	struct pull *pull = &peer->pulls[window->group];
	struct vector *has = &peer->pushes[window->group].has;
	enum err e = ERR_OK;

	if (window->delta_is_whole)
		vector_fini(&pull->told);
	pull->is_told = true;
	e = vector_merge(&pull->told, &window->delta);
	if (!e)
		e = vector_merge(has, &window->delta);
	return e ? e : vector_copy(&pull->told, ret_sender);
}

static void add_job(struct engine_peer *peer, struct inbound *inbound)
{
	struct window *window = &inbound->message.as.window;
	struct pull *pull = &peer->pulls[window->group];
	struct job *base = job_new(peer->engine, peer, sizeof(struct window_job));
	struct window_job *job = base ? container_of(base, struct window_job, job) : NULL;
	enum err e = job ? follow(peer, window, &job->sender) : ERR_NOMEM;

	if (e) {
		job_free(base);
		engine_die(peer->engine, e);
		return;
	}
	job->inbound = inbound;
	inbound->is_kept = true;
	job->record.site = peer->actor.site;
	base->prepare = prepare;
	base->run = run_window;
	base->done = window_done;
	base->fini = window_fini;
	pull->next = window->to;
	pull->pending++;
	job_add(base);
}

/* The peer says that a cursor is no good: states are to be compared. */
static void heed_barrier(struct engine_peer *peer, enum group group, int64_t barrier)
{
	struct pull *pull = &peer->pulls[group];

	pull->barrier = barrier;
	pull->on = false;
	pull->wanted = true;
	pull->is_periodic = false;
}

void pull_window(struct engine_peer *peer, struct inbound *inbound)
{
	const struct window *window = &inbound->message.as.window;
	struct pull *pull = &peer->pulls[window->group];

	if (window->incarnation != peer->actor.incarnation)
		return;
	/* Told once, maybe before the peer's answer came: what it is about stands all the same. */
	if (window->barrier > window->to) {
		heed_barrier(peer, window->group, window->barrier);
		return;
	}
	if (!peer->is_ready || !pull->on || pull->wanted || peer->status.is_stopped)
		return; /* a comparison brings it */
	if (window->to < pull->next || (pull->retrying && !window->delta_is_whole) ||
	    (window->to == pull->next && (window->from < window->to || !window->delta.count)))
		return; /* again, or from before what was asked for */
	if (window->from > pull->next ||
	    (!window->delta_is_whole && (!pull->is_told || window->from != pull->next))) {
		if (!pull->retrying)
			pull_retry(peer, window->group, RETRY_OUT_OF_ORDER);
		return;
	}
	pull->retrying = false;
	add_job(peer, inbound);
}

void pull_ack(struct engine_peer *peer, enum group group, uint64_t credit)
{
	struct engine *engine = peer->engine;
	struct pull *pull = &peer->pulls[group];
	const struct peer_record *record = peer_record_of(engine, &peer->actor.site);
	struct message message = {.kind = MESSAGE_ACK};
	struct vector now = {0};
	enum err e = clock_at(&engine->clock, group, store_head(engine->store), &now);

	message.as.ack = (struct ack){
		.group = group,
		.incarnation = peer->actor.incarnation,
		.cursor = record ? record->cursors[group] : 0,
		.credit_bytes = credit,
	};
	if (!e)
		e = vector_copy(&now, &message.as.ack.delta);
	if (!e)
		e = vector_subtract(&message.as.ack.delta, &pull->ours);
	if (e) {
		vector_fini(&now);
		message_fini(&message);
		engine_die(engine, e);
		return;
	}
	vector_fini(&pull->ours);
	pull->ours = now;
	engine_send(peer, &message);
}
