/* SPDX-License-Identifier: Apache-2.0 */
/* complete.c - deletions that no apiserver completes.
 *
 * An apiserver removes an object in the update that takes its last finalizer.  Where two sites took
 * one each, no update took the last: the merged object is free to go and nobody lets it. */
#include "sync/engine/merge.h"

struct complete_job {
	struct job job;
	struct compare compare;
	struct request request;
};

static void complete_done(struct job *base, enum err e)
{
	if (e && err_is_fault(e))
		engine_die(base->engine, e);
	else if (!e && base->op.out.txn.succeeded)
		engine_notice(base->engine, NOTICE_COMPLETED, NULL,
			      container_of(base, struct complete_job, job)->compare.key, "");
}

static void complete(struct engine *engine, const struct due *due)
{
	struct job *base = job_new(engine, NULL, sizeof(struct complete_job));
	struct complete_job *job;
	struct bytes key;

	if (!base)
		return;
	job = container_of(base, struct complete_job, job);
	if (!arena_copy(&base->arena, due->key, &key)) {
		job_free(base);
		engine_die(engine, fault(ERR_NOMEM, "a key"));
		return;
	}
	job->compare = (struct compare){
		.result = COMPARE_EQUAL,
		.target = COMPARE_MOD,
		.key = key,
		.number = due->revision,
	};
	job->request = (struct request){.kind = REQUEST_DELETE, .as.delete_range.key = key};
	base->op.kind = OP_TXN;
	base->op.in.txn = (struct txn_op){
		.compares = &job->compare,
		.compare_count = 1,
		.success = &job->request,
		.success_count = 1,
	};
	base->done = complete_done;
	job_add(base);
}

void complete_due(struct engine *engine, const struct merge *merge)
{
	for (size_t i = 0; i < merge->due_count; i++)
		complete(engine, &merge->due[i]);
}
