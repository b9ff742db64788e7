/* SPDX-License-Identifier: Apache-2.0 */
/* heal.c - a new incarnation, for a site whose history may have been rolled back or copied.
 *
 * 1. One op: the identity gets a next incarnation that begins at the last revision that everybody
 *    remembers alike; what the old one wrote up to there is noted in the vector as an other's.
 * 2. The head jumps beyond all that anybody has seen, and what was before counts as compacted: so
 *    informers that saw a newer revision list again.
 * 3. Rows above the common revision are told anew as the new incarnation's: first the keys are
 *    gathered, then written in jobs of some keys each.
 * Until the last of them windows go to nobody.  A crash in between goes on at 1. or 3.: the record
 * of the identity says so. */
#include "sync/engine/internal.h"

#include <stdlib.h>

struct begin_job {
	struct job job;
	struct identity identity;
	struct healing heal;
	struct clock_step steps[GROUPS];
	bool is_first;
	int64_t jump_to; /* 0: not at all */
};

/* Only now is it certain who this site is. */
void heal_ready(struct engine *engine)
{
	bool grew = false;
	enum err e = ERR_OK;

	if (engine->config.is_hub)
		e = engine_add_cloud(engine, &engine->clock.self.site, &grew);
	if (!e && (grew || engine->shows_other))
		e = show_all(engine);
	if (e) {
		engine_die(engine, e);
		return;
	}
	engine->ready = true;
	list_for_each (node, &engine->peers)
		hello_introduce(container_of(node, struct engine_peer, node));
}

/* --- the record ------------------------------------------------------------------------------- */

enum err heal_put(struct apply *apply, const struct identity *identity, const struct healing *heal)
{
	struct record_name name = record_identity();
	struct record_name healing = record_healing();
	struct buffer buffer = BUFFER_INIT(64 * KIB);
	enum err e = identity_encode(identity, &buffer)
			     ? apply_set_state(apply, record_bytes(&name), buffer_bytes(&buffer))
			     : fault(ERR_NOMEM, "the record of the identity");

	buffer.size = 0;
	if (!e && heal &&
	    !(actor_put(&buffer, &heal->old) && wire_put_number(&buffer, (uint64_t)heal->common) &&
	      wire_put_number(&buffer, (uint64_t)heal->end)))
		e = fault(ERR_NOMEM, "the record of an incarnation");
	if (!e)
		e = heal ? apply_set_state(apply, record_bytes(&healing), buffer_bytes(&buffer))
			 : apply_delete_state(apply, record_bytes(&healing));
	buffer_fini(&buffer);
	return e;
}

/* --- 2. the jump ------------------------------------------------------------------------------ */

static void jump_done(struct job *base, enum err e)
{
	if (e)
		engine_die(base->engine, e);
	else
		heal_go_on(base->engine);
}

static void jump(struct engine *engine, int64_t revision)
{
	struct job *job = job_new(engine, NULL, sizeof(*job));

	if (!job)
		return;
	job->op.kind = OP_JUMP;
	job->op.in.jump.revision = revision;
	job->done = jump_done;
	job_add(job);
}

/* --- 1. the incarnation ----------------------------------------------------------------------- */

/* What this site has forgotten, its hub may know without a row: where barriers are spared (see
 * needs_barrier()), no cursor of before is good, and states are compared once. */
static enum err put_records(const struct engine *engine, struct apply *apply)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && engine->config.star && i < engine->record_count; i++) {
		struct peer_record record = engine->records[i];
		struct record_name name = record_peer(&record.site);
		struct buffer buffer = BUFFER_INIT(64 * KIB);

		memset(record.cursors, 0, sizeof(record.cursors));
		e = peer_record_encode(&record, &buffer)
			    ? apply_set_state(apply, record_bytes(&name), buffer_bytes(&buffer))
			    : fault(ERR_NOMEM, "the record of a peer");
		buffer_fini(&buffer);
	}
	return e;
}

static void forget_cursors(struct engine *engine)
{
	if (!engine->config.star)
		return;
	for (size_t i = 0; i < engine->record_count; i++)
		memset(engine->records[i].cursors, 0, sizeof(engine->records[i].cursors));
	list_for_each (node, &engine->peers)
		for (int group = 0; group < GROUPS; group++) {
			struct pull *pull =
				&container_of(node, struct engine_peer, node)->pulls[group];

			pull->on = false;
			pull->wanted = true;
			pull->is_periodic = false;
		}
}

static enum err run_begin(struct job *base, struct apply *apply)
{
	struct begin_job *job = container_of(base, struct begin_job, job);
	struct stamper *stamper = base->engine->stamper;
	enum err e = ERR_OK;

	for (int group = 0; !e && group < GROUPS; group++) {
		job->steps[group].last = apply_revision(apply) - 1;
		job->steps[group].first = job->steps[group].last + 1;
		e = clock_put_step(apply, group, &job->steps[group]);
	}
	job->heal.end = apply_revision(apply) - 1;
	if (!e)
		e = heal_put(apply, &job->identity, job->is_first ? NULL : &job->heal);
	if (!e && !job->is_first)
		e = put_records(base->engine, apply);
	if (e)
		return e;
	stamper->identity = job->identity;
	stamper->has_identity = true;
	stamper->reserved_end = 0; /* the witness names the new one before the next row */
	return stamper_reserve(stamper, apply_revision(apply));
}

static uint64_t draw(const struct engine *engine)
{
	return engine->config.host.random(engine->config.host.context);
}

static void begin_done(struct job *base, enum err e)
{
	struct begin_job *job = container_of(base, struct begin_job, job);
	struct engine *engine = base->engine;

	for (int group = 0; !e && group < GROUPS; group++)
		e = clock_step(&engine->clock, group, &job->steps[group]);
	if (e) {
		engine_die(engine, e);
		return;
	}
	engine->clock.self = identity_self(&job->identity);
	engine->clock.begin = identity_begin(&job->identity);
	engine->nonce = draw(engine);
	engine->heal = job->heal;
	if (job->is_first) {
		heal_ready(engine);
		return;
	}
	engine_notice(engine, NOTICE_INCARNATION, NULL, bytes_of(NULL, 0), "begun");
	forget_cursors(engine);
	jump(engine, job->jump_to);
}

static void begin_fini(struct job *base)
{
	struct begin_job *job = container_of(base, struct begin_job, job);

	for (int group = 0; group < GROUPS; group++)
		vector_fini(&job->steps[group].delta);
}

static struct begin_job *begin_job(struct engine *engine)
{
	struct job *base = job_new(engine, NULL, sizeof(struct begin_job));

	if (!base)
		return NULL;
	base->run = run_begin;
	base->done = begin_done;
	base->fini = begin_fini;
	return container_of(base, struct begin_job, job);
}

static void draw_site(const struct engine *engine, struct site *site)
{
	for (size_t i = 0; i < SITE_BYTES; i += sizeof(uint64_t)) {
		uint64_t part = draw(engine);

		memcpy(site->bytes + i, &part, sizeof(part));
	}
}

static void begin_first(struct engine *engine)
{
	struct begin_job *job = begin_job(engine);

	if (!job)
		return;
	job->is_first = true;
	draw_site(engine, &job->identity.site);
	identity_begin_next(&job->identity, 0, 0, draw(engine));
	job_add(&job->job);
}

static void begin(struct engine *engine, int64_t common, int64_t seen, bool is_clone)
{
	struct begin_job *job = engine->healing ? NULL : begin_job(engine);
	int64_t head = store_head(engine->store);
	struct actor old = engine->clock.self;
	struct site site;
	enum err e = ERR_OK;

	if (!job)
		return;
	engine->healing = true;
	list_for_each (node, &engine->peers)
		container_of(node, struct engine_peer, node)->is_ready = false;
	job->identity = engine->stamper->identity;
	draw_site(engine, &site);
	if (is_clone)
		identity_begin_site(&job->identity, &site, common, draw(engine));
	else
		identity_begin_next(&job->identity, common, engine->heard_incarnation,
				    draw(engine));
	job->heal = (struct healing){.old = old, .common = common};
	job->jump_to = (seen > head ? seen : head) + INCARNATION_JUMP;
	for (int group = 0; !e && group < GROUPS && common > engine->clock.begin; group++)
		e = vector_add(&job->steps[group].delta, &old, engine->clock.begin + 1, common);
	if (e) {
		job_free(&job->job);
		engine_die(engine, e);
		return;
	}
	job_add(&job->job);
}

void heal_begin(struct engine *engine, int64_t common, int64_t seen, const char *why)
{
	if (engine->healing)
		return;
	engine_notice(engine, NOTICE_INCARNATION, NULL, bytes_of(NULL, 0), why);
	begin(engine, common, seen, false);
}

/* What this incarnation wrote is its own, whichever of the two copies it is: a copy begins an
 * incarnation before it writes. */
void heal_clone(struct engine *engine)
{
	if (engine->healing)
		return;
	engine_notice(engine, NOTICE_INCARNATION, NULL, bytes_of(NULL, 0),
		      "another running server has this site's identity");
	begin(engine, store_head(engine->store), store_head(engine->store), true);
}

/* --- the start -------------------------------------------------------------------------------- */

static const char *suspicion(const struct engine *engine, const struct witness *witness,
			     bool is_there)
{
	struct actor self = engine->clock.self;
	struct bytes disk = bytes_of(witness->disk, witness->disk_bytes);

	if (!is_there)
		return "the witness file is missing or cannot be read";
	if (actor_compare(&witness->self, &self) != 0)
		return "the witness file is of another incarnation";
	if (!bytes_equal(disk, engine->config.disk))
		return "the database stands on another disk, or was copied";
	if (store_head(engine->store) + 1 < witness->from)
		return "the database is older than the witness file";
	return NULL;
}

void heal_start(struct engine *engine)
{
	struct stamper *stamper = engine->stamper;
	struct witness witness = {.from = 0};
	bool is_there = witness_decode(engine->config.witness, &witness);
	const char *why;
	int64_t seen = is_there ? witness.end : store_head(engine->store) + WITNESS_LEASE_REVISIONS;

	if (!stamper->has_identity) {
		begin_first(engine);
		return;
	}
	why = suspicion(engine, &witness, is_there);
	if (engine->healing && !why) {
		jump(engine, store_head(engine->store) + INCARNATION_JUMP);
		return;
	}
	engine->healing = false;
	if (why && !mistake(&engine->config, MISTAKE_NO_BUMP)) {
		heal_begin(engine, store_head(engine->store), seen, why);
		return;
	}
	stamper->reserved_from = witness.from;
	stamper->reserved_end = witness.end;
	heal_ready(engine);
}
