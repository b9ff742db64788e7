/* SPDX-License-Identifier: Apache-2.0 */
/* job.c - one operation of the store at a time, in order. */
#include "sync/engine/internal.h"

#include <stdlib.h>

struct job *job_new(struct engine *engine, struct engine_peer *peer, size_t size)
{
	struct job *job = calloc(1, size);

	if (!job) {
		engine_die(engine, fault(ERR_NOMEM, "a job of the engine"));
		return NULL;
	}
	job->engine = engine;
	job->peer = peer;
	job->op.kind = OP_APPLY;
	job->op.arena = &job->arena;
	arena_init(&job->arena, KEY_ARENA_BYTES);
	list_init(&job->node);
	return job;
}

void job_free(struct job *job)
{
	if (!job)
		return;
	if (job->fini)
		job->fini(job);
	arena_fini(&job->arena);
	free(job);
}

static enum err run(struct apply *apply, void *context)
{
	struct job *job = context;

	return job->run(job, apply);
}

static enum err submit(struct job *job)
{
	struct engine *engine = job->engine;
	enum err e = job->prepare ? job->prepare(job) : ERR_OK;

	if (e)
		return e;
	if (job->run) {
		job->op.in.apply.fn = run;
		job->op.in.apply.context = job;
	}
	engine->running = job;
	engine->cut_max = store_head(engine->store);
	e = engine->config.host.submit(engine->config.host.context, &job->op);
	if (e)
		engine->running = NULL;
	return e;
}

static void next(struct engine *engine)
{
	while (!engine->running && !engine->dead && !list_is_empty(&engine->jobs)) {
		struct job *job = container_of(engine->jobs.next, struct job, node);
		enum err e;

		list_remove(&job->node);
		e = submit(job);
		if (!e)
			return;
		job->done(job, e);
		job_free(job);
	}
}

void job_add(struct job *job)
{
	list_append(&job->engine->jobs, &job->node);
	next(job->engine);
}

void engine_done(struct engine *engine, struct op *op)
{
	struct job *job = container_of(op, struct job, op);

	engine->running = NULL;
	if (!engine->dead)
		job->done(job, op->err);
	job_free(job);
	next(engine);
	engine_pump(engine);
}

void jobs_forget_peer(struct engine *engine, const struct engine_peer *peer)
{
	if (engine->running && engine->running->peer == peer)
		engine->running->peer = NULL;
	for (struct list *node = engine->jobs.next; node != &engine->jobs; node = node->next) {
		struct job *job = container_of(node, struct job, node);

		if (job->peer == peer)
			job->peer = NULL;
	}
}
