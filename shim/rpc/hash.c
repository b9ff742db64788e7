/* SPDX-License-Identifier: Apache-2.0 */
/* hash.c - Maintenance.Hash and HashKV: they read every row, so a pool thread does it. */
#include "shim/rpc/rpc_internal.h"

#include <assert.h>

struct hash_job {
	struct rpc_job base; /* first: the state of a job's call begins with it */
	int64_t revision;    /* asked for */
	int64_t head;	     /* the newest when the answer was made */
	struct store_hash result;
};

static_assert(sizeof(struct hash_job) <= HASH_STATE_BYTES, "room of the call");

static struct hash_job *hash_of(struct rpc_job *job)
{
	return container_of(job, struct hash_job, base);
}

/* What both end with: true when there is an answer to give. */
static bool finish(struct rpc_job *job)
{
	rpc_job_give(rpc_of(job->call));
	if (job->err)
		call_fail(job->call, job->err);
	return !job->err && !call_is_ended(job->call);
}

static void hash_work(struct rpc_job *job) /* pool thread */
{
	struct hash_job *hash = hash_of(job);

	hash->head = store_head(job->store);
	job->err = store_hash(job->reader, &hash->result.hash);
}

static void hash_reply(struct rpc_job *job)
{
	Etcdserverpb__HashResponse response = ETCDSERVERPB__HASH_RESPONSE__INIT;
	Etcdserverpb__ResponseHeader header = rpc_pb_header(rpc_of(job->call), hash_of(job)->head);

	if (!finish(job))
		return;
	response.header = &header;
	response.hash = hash_of(job)->result.hash;
	rpc_reply_packed(job->call, &response.base);
}

void maintenance_hash(struct call *call, struct bytes message)
{
	enum err e;

	if (!rpc_take_numbers(call, message, NULL, 0))
		return;
	e = rpc_start_job(call, hash_work, hash_reply);
	if (e)
		call_fail(call, e);
}

static void hash_kv_work(struct rpc_job *job) /* pool thread */
{
	struct hash_job *hash = hash_of(job);

	job->err = store_hash_kv(job->reader, hash->revision, &hash->result);
	hash->head = store_head(job->store);
}

static void hash_kv_reply(struct rpc_job *job)
{
	const struct hash_job *hash = hash_of(job);
	Etcdserverpb__HashKVResponse response = ETCDSERVERPB__HASH_KVRESPONSE__INIT;
	Etcdserverpb__ResponseHeader header = rpc_pb_header(rpc_of(job->call), hash->head);

	if (!finish(job))
		return;
	response.header = &header;
	response.hash = hash->result.hash;
	response.compact_revision = hash->result.compact_revision;
	response.hash_revision = hash->result.hash_revision;
	rpc_reply_packed(job->call, &response.base);
}

void maintenance_hash_kv(struct call *call, struct bytes message)
{
	uint64_t revision;
	enum err e;

	if (!rpc_take_numbers(call, message, &revision, 1))
		return;
	((struct hash_job *)call_state(call))->revision = (int64_t)revision;
	e = rpc_start_job(call, hash_kv_work, hash_kv_reply);
	if (e)
		call_fail(call, e);
}
