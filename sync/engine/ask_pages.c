/* SPDX-License-Identifier: Apache-2.0 */
/* ask_pages.c - the second half of a comparison: pages of keys, and the vector at the end. */
#include "sync/engine/asking.h"
#include "sync/engine/merge.h"

#include <stdlib.h>

/* --- pages ------------------------------------------------------------------------------------ */

struct page_job {
	struct job job;
	struct inbound *inbound;
	uint64_t session;
	enum group group;
	struct vector theirs;
	struct claims known;
	struct clock_step step; /* no delta: the vector comes at the end */
	struct merge merge;
};

static enum err run_page(struct job *base, struct apply *apply)
{
	struct page_job *job = container_of(base, struct page_job, job);
	const struct session_page *page = &job->inbound->message.as.session_page;
	enum err e = merge_begin(&job->merge, apply);

	for (size_t i = 0; !e && i < page->entry_count; i++)
		e = merge_entry(&job->merge, &page->entries[i]);
	job->step.first = job->merge.first;
	job->step.last = job->merge.last;
	if (!e)
		e = clock_put_step(apply, job->group, &job->step);
	if (!e)
		e = claims_put(apply, &job->known);
	merge_fini(&job->merge);
	return e;
}

static enum err add_claims(struct page_job *job, const struct claim *claims, size_t count)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < count; i++)
		e = claims_add(&job->known, claims[i].id, &claims[i].vector);
	return e;
}

static enum err prepare_page(struct job *base)
{
	struct page_job *job = container_of(base, struct page_job, job);
	const struct session_page *page = &job->inbound->message.as.session_page;
	struct engine *engine = base->engine;
	struct claim own = {job->session, job->theirs};
	enum err e;

	if (!engine->asking || engine->asking->session != job->session)
		return ERR_BUSY;
	e = add_claims(job, engine->claims.list, engine->claims.count);
	if (!e)
		e = add_claims(job, page->claims, page->claim_count);
	if (!e)
		e = add_claims(job, &own, 1);
	job->merge = (struct merge){
		.engine = engine,
		.peer = engine->asking->peer->actor,
		.deletes_left = gate_deletes_left(engine->asking->peer),
		.group = job->group,
		.sender = &job->theirs,
		.claims = page->claims,
		.claim_count = page->claim_count,
		.known = &job->known,
		.session = job->session,
		.grew = true,
	};
	return e;
}

static void page_done(struct job *base, enum err e)
{
	struct page_job *job = container_of(base, struct page_job, job);
	struct engine *engine = base->engine;
	struct asking *asking = engine->asking;

	if (base->peer)
		gate_count(base->peer, &job->merge, e);
	if (!e)
		e = clock_step(&engine->clock, job->group, &job->step);
	if (!e) {
		claims_fini(&engine->claims);
		engine->claims = job->known;
		job->known.count = 0;
	}
	if (!asking || asking->session != job->session)
		return;
	asking->pages--;
	asking->moved_ms = engine_now(engine);
	if (e && e != ERR_BUSY)
		asking_give_up(engine, e);
	else
		asking_go_on(asking);
}

static void page_fini(struct job *base)
{
	struct page_job *job = container_of(base, struct page_job, job);

	inbound_free(job->inbound);
	vector_fini(&job->theirs);
	claims_fini(&job->known);
}

static int compare_keys(const void *a, const void *b)
{
	return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

/* What is still to be asked for, in order and each once: late keys come in any order. */
static void sort_left(struct asking *asking)
{
	size_t kept = asking->asked;

	if (asking->count > asking->asked)
		qsort(asking->keys + asking->asked, asking->count - asking->asked,
		      sizeof(*asking->keys), compare_keys);
	for (size_t i = asking->asked; i < asking->count; i++)
		if (kept == asking->asked || !bytes_equal(asking->keys[i], asking->keys[kept - 1]))
			asking->keys[kept++] = asking->keys[i];
	asking->count = kept;
}

static void fetch(struct asking *asking)
{
	struct message message = {.kind = MESSAGE_SESSION_FETCH};
	size_t left;

	sort_left(asking);
	left = asking->count - asking->asked;

	message.as.session_fetch = (struct session_fetch){
		.session = asking->session,
		.keys = asking->keys + asking->asked,
		.key_count = left < PAGE_KEYS_MAX ? left : PAGE_KEYS_MAX,
	};
	asking->asked += message.as.session_fetch.key_count;
	asking->pages++;
	engine_send(asking->peer, &message);
}

/* The page must be what was asked for next; what did not fit into it is asked for again. */
static bool fits(struct asking *asking, const struct session_page *page)
{
	size_t from = asking->asked;

	if (!page->entry_count || page->entry_count > asking->asked)
		return false;
	while (from > 0 && !bytes_equal(asking->keys[from - 1], page->entries[0].key))
		from--;
	if (!from)
		return false;
	from--;
	for (size_t i = 0; i < page->entry_count; i++)
		if (from + i >= asking->asked ||
		    !bytes_equal(asking->keys[from + i], page->entries[i].key))
			return false;
	/* One page at a time is on its way, so the rest of it is the rest of what was asked. */
	asking->asked = from + page->entry_count;
	return true;
}

void ask_page(struct engine_peer *peer, struct inbound *inbound)
{
	struct engine *engine = peer->engine;
	struct asking *asking = engine->asking;
	const struct session_page *page = &inbound->message.as.session_page;
	struct job *base;
	struct page_job *job;
	enum err e;

	if (!ask_is_for(engine, peer) || asking->session != page->session || !asking->pages)
		return;
	if (!fits(asking, page)) {
		asking_give_up(engine, ERR_OK);
		return;
	}
	base = job_new(engine, peer, sizeof(*job));
	if (!base)
		return;
	job = container_of(base, struct page_job, job);
	job->session = asking->session;
	job->group = asking->group;
	e = vector_copy(&asking->theirs, &job->theirs);
	if (e) {
		job_free(base);
		engine_die(engine, e);
		return;
	}
	job->inbound = inbound;
	inbound->is_kept = true;
	base->prepare = prepare_page;
	base->run = run_page;
	base->done = page_done;
	base->fini = page_fini;
	job_add(base);
}

/* --- the end ---------------------------------------------------------------------------------- */

struct end_job {
	struct job job;
	uint64_t session;
	enum group group;
	struct clock_step step;
	struct claims known;
	struct peer_record record;
	int64_t barrier; /* 0: none */
	bool prunes;	 /* claims go, and with them steps of the clock */
	bool is_late;	 /* keys came while it waited */
};

static enum err put_end(struct end_job *job, struct apply *apply)
{
	struct record_name peer = record_peer(&job->record.site);
	struct record_name barrier = record_barrier(job->group);
	struct buffer buffer = BUFFER_INIT(64 * KIB);
	enum err e = peer_record_encode(&job->record, &buffer)
			     ? apply_set_state(apply, record_bytes(&peer), buffer_bytes(&buffer))
			     : fault(ERR_NOMEM, "the record of a peer");

	if (!e && job->barrier)
		e = apply_set_state(apply, record_bytes(&barrier),
				    bytes_of(&job->barrier, sizeof(job->barrier)));
	buffer_fini(&buffer);
	return e ? e : claims_put(apply, &job->known);
}

static enum err run_end(struct job *base, struct apply *apply)
{
	struct end_job *job = container_of(base, struct end_job, job);
	struct bytes no_key = bytes_of("\0", 1); /* in nobody's scope */
	enum err e = ERR_OK;

	/* A revision of its own, which nobody can have read: a cursor at the head is void, too. */
	if (job->barrier)
		e = apply_delete(apply, no_key, bytes_of(NULL, 0), false);
	if (e)
		return e;
	job->step.last = apply_revision(apply) - !job->barrier;
	job->step.first = job->step.last + 1;
	if (job->barrier)
		job->barrier = job->step.last;
	e = job->prunes ? clock_put_base(apply, &base->engine->clock, job->group, job->step.last,
					 &job->step.delta)
			: clock_put_step(apply, job->group, &job->step);
	return e ? e : put_end(job, apply);
}

/* Whether the gain holds dots that no row here tells of: see the rule of the barrier in
 * docs/sync.md.  A hub that was set back may have told others what it has forgotten itself. */
static bool needs_barrier(const struct asking *asking, const struct vector *gain)
{
	const struct engine *engine = asking->engine;
	bool was_set_back = engine->config.is_hub && engine->stamper->identity.count > 1;

	if (mistake(&engine->config, MISTAKE_NO_BARRIER))
		return false;
	for (size_t i = 0; i < gain->count; i++)
		if (!engine->config.star || was_set_back ||
		    memcmp(&gain->entries[i].actor.site, &asking->peer->actor.site, SITE_BYTES) !=
			    0)
			return true;
	return false;
}

static enum err prepare_end(struct job *base)
{
	struct end_job *job = container_of(base, struct end_job, job);
	struct engine *engine = base->engine;
	struct asking *asking = engine->asking;
	const struct peer_record *record;
	struct vector now = {0};
	enum err e;

	if (!asking || asking->session != job->session)
		return ERR_BUSY;
	if (asking->asked < asking->count) {
		job->is_late = true;
		return ERR_BUSY;
	}
	record = peer_record_of(engine, &asking->peer->actor.site);
	job->record = *record;
	/* Where windows come, they go on from where they are. */
	if (!asking->peer->pulls[asking->group].on) {
		job->record.cursors[asking->group] = asking->revision;
		if (job->record.incarnation != asking->incarnation)
			job->record.point_count = 0;
		job->record.incarnation = asking->incarnation;
	}
	e = pull_gain(engine, asking->group, &asking->theirs, &job->step.delta);
	job->barrier = !e && needs_barrier(asking, &job->step.delta);
	if (!e)
		e = claims_copy(&engine->claims, &job->known);
	if (!e)
		e = clock_at(&engine->clock, asking->group, store_head(engine->store), &now);
	if (!e)
		e = vector_merge(&now, &job->step.delta);
	if (!e)
		job->prunes = claims_prune(&job->known, asking->group, &now);
	vector_fini(&now);
	return e;
}

/* The comparison may have broken off since, and another may be under way. */
static enum err end_now(struct end_job *job)
{
	struct engine *engine = job->job.engine;
	bool is_current = engine->asking && engine->asking->session == job->session;
	const struct asking *asking = is_current ? engine->asking : NULL;
	struct peer_record *record = peer_record_of(engine, &job->record.site);
	struct engine_peer *peer = asking ? asking->peer : NULL;
	struct pull *pull;
	enum err e = clock_step(&engine->clock, job->group, &job->step);

	if (!e && job->prunes)
		e = clock_fold(&engine->clock, job->group, job->step.last);
	engine->clock_versions[job->group]++;
	if (record)
		*record = job->record;
	claims_fini(&engine->claims);
	engine->claims = job->known;
	job->known.count = 0;
	if (job->barrier) {
		engine->barriers[job->group] = job->barrier;
		engine_notice(engine, NOTICE_BARRIER, peer, bytes_of(NULL, 0), "");
	}
	if (e || !peer)
		return e;
	pull = &peer->pulls[job->group];
	pull->is_periodic = false;
	pull->wanted = !pull->on && asking->revision < pull->barrier;
	peer->compared_ms = engine_now(engine);
	if (pull->on || pull->wanted)
		return ERR_OK;
	pull->on = true;
	pull->retrying = pull->is_told = false;
	pull->next = asking->revision;
	peer->status.cursor[job->group] = asking->revision;
	vector_fini(&pull->told);
	return ERR_OK;
}

static void end_done(struct job *base, enum err e)
{
	struct end_job *job = container_of(base, struct end_job, job);
	struct engine *engine = base->engine;
	struct engine_peer *peer = engine->asking ? engine->asking->peer : NULL;

	if (!engine->asking || engine->asking->session != job->session) {
		if (!e)
			e = end_now(job);
		if (e && err_is_fault(e))
			engine_die(engine, e);
		return;
	}
	engine->asking->is_ending = false;
	if (job->is_late) {
		asking_go_on(engine->asking);
		return;
	}
	if (!e)
		e = end_now(job);
	asking_give_up(engine, e);
	if (e || !peer)
		return;
	engine_notice(engine, NOTICE_SESSION_DONE, peer, bytes_of(NULL, 0), "");
	pull_ack(peer, job->group, 0);
	list_for_each (node, &engine->peers)
		push_check(container_of(node, struct engine_peer, node), job->group);
}

static void end_fini(struct job *base)
{
	struct end_job *job = container_of(base, struct end_job, job);

	vector_fini(&job->step.delta);
	claims_fini(&job->known);
}

static void end(struct asking *asking)
{
	struct job *base = job_new(asking->engine, asking->peer, sizeof(struct end_job));
	struct end_job *job;

	if (!base)
		return;
	job = container_of(base, struct end_job, job);
	job->session = asking->session;
	job->group = asking->group;
	base->prepare = prepare_end;
	base->run = run_end;
	base->done = end_done;
	base->fini = end_fini;
	asking->is_ending = true;
	job_add(base);
}

void asking_go_on(struct asking *asking)
{
	if (!asking->is_compared || asking->is_ending)
		return;
	if (!asking->pages && asking->asked < asking->count)
		fetch(asking);
	else if (!asking->pages)
		end(asking);
}
