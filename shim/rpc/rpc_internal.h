/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_internal.h - what the handlers share: headers, answers, and the way of a write to the store
 * and back. */
#ifndef SHIM_RPC_RPC_INTERNAL_H
#define SHIM_RPC_RPC_INTERNAL_H

#include "api/check.h"
#include "api/codec.h"
#include "shim/base/list.h"
#include "shim/rpc/rpc.h"
#include "shim/rpc/wire.h"

#include "api/proto/rpc.pb-c.h"

/* An answer is bounded by what one gRPC message can hold. */
#define ANSWER_BYTES_MAX ((size_t)INT32_MAX)

static inline struct rpc_server *rpc_of(struct call *call)
{
	return call_context(call);
}

struct wire_header rpc_header(const struct rpc_server *server, int64_t revision);
/* The same for protobuf-c; Cluster's answers leave the revision 0. */
Etcdserverpb__ResponseHeader rpc_pb_header(const struct rpc_server *server, int64_t revision);

/* Fails the call for what the codec said: codec may be NULL when it is not MALFORMED. */
void rpc_fail_decode(struct call *call, const struct codec *codec, enum err e);
/* Packs and replies. */
void rpc_reply_packed(struct call *call, const ProtobufCMessage *message);
/* An answer that is only a header, field 1, with this revision. */
void rpc_reply_header(struct call *call, int64_t revision);

/* A flat request of `count` numbers; answers the call itself and gives false when it is malformed.
 */
bool rpc_take_numbers(struct call *call, struct bytes message, uint64_t *ret_numbers, size_t count);

/* etcd's limit for what goes through its log. */
enum err rpc_check_size(const struct rpc_server *server, struct bytes message);

/* --- a write: the state of its call --- */

struct rpc_write {
	struct op op;
	struct call *call;
	/* For the op's results.  Not the call's own arena, from which the loop may still take while
	 * the writer has the op: for the text of a deadline that passes, say. */
	struct arena results;
	/* On the loop, when the op went well and somebody still listens. */
	void (*reply)(struct call *call, const struct op *op);
};

/* The op of this call, zeroed, with an arena for results. */
struct op *rpc_op(struct call *call, enum op_kind kind);
/* Gives it to the writer.  The call's memory stays until the op is back. */
void rpc_submit(struct call *call, void (*reply)(struct call *call, const struct op *op));

/* --- a job on a pool thread: the state of its call begins with it --- */

struct rpc_job {
	struct loop_job job;
	struct call *call;
	struct store *store;
	struct store_reader *reader; /* the job's own, while it works */
	enum err err;		     /* of work */
	void (*work)(struct rpc_job *job);
	/* On the loop, whatever came of it, also when the call is over; calls rpc_job_give(). */
	void (*reply)(struct rpc_job *job);
};

/* One of RPC_JOBS_MAX places; false: all are taken. */
bool rpc_job_take(struct rpc_server *server);
void rpc_job_give(struct rpc_server *server);

/* Takes a place and starts; on an error nothing was started and the call is still to be failed. */
enum err rpc_start_job(struct call *call, void (*work)(struct rpc_job *job),
		       void (*reply)(struct rpc_job *job));

/* --- alarms that are up (alarm.c) --- */

#define RPC_ALARMS_MAX (RPC_FOREIGN_ALARMS_MAX + ALARM_CORRUPT)
#define RPC_ALARM_TEXT_BYTES 64

struct rpc_alarm {
	enum alarm alarm;
	uint64_t member_id;
};

/* list has room for RPC_ALARMS_MAX. */
size_t rpc_alarm_list(struct rpc_server *server, struct rpc_alarm *list);
/* As Status tells of it. */
void rpc_alarm_text(const struct rpc_alarm *alarm, char text[RPC_ALARM_TEXT_BYTES]);

/* --- a big RangeResponse, sent as the peer takes it (range_source.c) --- */

/* Takes the cursor, whatever the outcome, and answers the call. */
void range_source_reply(struct call *call, struct range_cursor *cursor,
			const struct wire_header *header, uint64_t message_bytes);

/* How long a client may take for an answer of that size, while its cursor keeps old rows alive. */
uint64_t range_time_ms(uint64_t message_bytes);

/* --- a part of rpc_server_init --- */

/* Removes what a crash in the middle of a snapshot left behind. */
void snapshot_sweep(const char *snapshot_dir);

/* --- handlers, by file --- */

/* kv.c */
void kv_range(struct call *call, struct bytes message);
void kv_put(struct call *call, struct bytes message);
void kv_delete_range(struct call *call, struct bytes message);
void kv_txn(struct call *call, struct bytes message);
void kv_compact(struct call *call, struct bytes message);

/* range_stream.c */
#define RANGE_STREAM_STATE_BYTES 256
void kv_range_stream(struct call *call, struct bytes message);
void kv_range_stream_writable(struct call *call);
void kv_range_stream_end(struct call *call);

/* lease.c */
void lease_grant(struct call *call, struct bytes message);
void lease_revoke(struct call *call, struct bytes message);
void lease_keep_alive(struct call *call, struct bytes message);
void lease_keep_alive_half_close(struct call *call);
void lease_time_to_live(struct call *call, struct bytes message);
void lease_leases(struct call *call, struct bytes message);

/* cluster.c */
void cluster_member_list(struct call *call, struct bytes message);
void cluster_member_add(struct call *call, struct bytes message);
void cluster_member_remove(struct call *call, struct bytes message);
void cluster_member_update(struct call *call, struct bytes message);
void cluster_member_promote(struct call *call, struct bytes message);

/* alarm.c */
#define ALARM_STATE_BYTES 1024
void maintenance_alarm(struct call *call, struct bytes message);

/* maintenance.c */
void maintenance_status(struct call *call, struct bytes message);
void maintenance_defragment(struct call *call, struct bytes message);
void maintenance_move_leader(struct call *call, struct bytes message);
void maintenance_downgrade(struct call *call, struct bytes message);

/* hash.c */
#define HASH_STATE_BYTES 512
void maintenance_hash(struct call *call, struct bytes message);
void maintenance_hash_kv(struct call *call, struct bytes message);

/* snapshot.c */
#define SNAPSHOT_STATE_BYTES 1024
void maintenance_snapshot(struct call *call, struct bytes message);
void maintenance_snapshot_writable(struct call *call);
void maintenance_snapshot_end(struct call *call);

/* health.c */
void health_check(struct call *call, struct bytes message);
void health_watch(struct call *call, struct bytes message);
void health_list(struct call *call, struct bytes message);

#endif
