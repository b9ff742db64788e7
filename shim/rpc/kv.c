/* SPDX-License-Identifier: Apache-2.0 */
/* kv.c - the service etcdserverpb.KV, but for RangeStream. */
#include "shim/rpc/encode.h"
#include "shim/rpc/rpc_internal.h"

#include "shim/base/limits.h"

/* An answer up to this size is read and written at one go; a bigger one goes out in slices, so that
 * it neither holds up the loop nor fills memory while its client is slow. */
#define RANGE_INLINE_BYTES SOURCE_SLICE_BYTES

static void reply_or_fail(struct call *call, enum err e, struct buffer *out)
{
	if (e) {
		buffer_fini(out);
		call_fail(call, e);
	} else {
		call_reply(call, out);
	}
}

/* --- Range --- */

static void range_one(struct call *call, const struct range_op *op)
{
	struct rpc_server *server = rpc_of(call);
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);
	struct range_result result;
	struct wire_header header;
	/* Not the call's own, which would keep the value beside the answer until that is taken. */
	struct arena values;
	enum err e;

	arena_init(&values, CALL_ARENA_BYTES_MAX);
	e = store_range(server->reader, op, &values, &result);
	if (!e) {
		header = rpc_header(server, result.revision);
		e = encode_range(&header, &result, &out);
	}
	arena_fini(&values);
	reply_or_fail(call, e, &out);
}

static void range_many(struct call *call, const struct range_op *op)
{
	struct rpc_server *server = rpc_of(call);
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);
	struct range_cursor *cursor;
	struct wire_header header;
	struct range_part all;
	uint64_t size;
	enum err e = store_range_open(server->reader, op, &cursor);

	if (e) {
		call_fail(call, e);
		return;
	}
	header = rpc_header(server, store_range_head(cursor)->revision);
	all = (struct range_part){cursor, &header, 0, store_range_head(cursor)->kv_count};
	size = encode_part_size(&all);
	if (size > RANGE_INLINE_BYTES) {
		range_source_reply(call, cursor, &header, size);
		return;
	}
	e = encode_part(&all, size, &out);
	store_range_close(cursor);
	reply_or_fail(call, e, &out);
}

void kv_range(struct call *call, struct bytes message)
{
	struct codec codec = CODEC_INIT(call_arena(call));
	struct range_op op;
	enum err e = codec_range(&codec, message, &op);

	if (e) {
		rpc_fail_decode(call, &codec, e);
		return;
	}
	e = check_range(&op);
	if (e)
		call_fail(call, e);
	else if (range_is_single(op.end))
		range_one(call, &op);
	else
		range_many(call, &op);
}

/* --- Put --- */

static void put_reply(struct call *call, const struct op *op)
{
	struct wire_header header = rpc_header(rpc_of(call), op->out.put.revision);
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);

	reply_or_fail(call, encode_put(&header, &op->out.put, &out), &out);
}

void kv_put(struct call *call, struct bytes message)
{
	struct rpc_server *server = rpc_of(call);
	struct codec codec = CODEC_INIT(call_arena(call));
	struct op *op = rpc_op(call, OP_PUT);
	enum err e = codec_put(&codec, message, &op->in.put);

	if (e) {
		rpc_fail_decode(call, &codec, e);
		return;
	}
	e = store_quota_check(server->config.store, check_put_cost(&op->in.put));
	if (!e)
		e = check_put(&op->in.put);
	if (!e)
		e = rpc_check_size(server, message);
	if (!op->in.put.prev_kv)
		op->arena = NULL;
	if (e)
		call_fail(call, e);
	else
		rpc_submit(call, put_reply);
}

/* --- DeleteRange --- */

static void delete_reply(struct call *call, const struct op *op)
{
	struct wire_header header = rpc_header(rpc_of(call), op->out.delete_range.revision);
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);

	reply_or_fail(call, encode_delete(&header, &op->out.delete_range, &out), &out);
}

void kv_delete_range(struct call *call, struct bytes message)
{
	struct codec codec = CODEC_INIT(call_arena(call));
	struct op *op = rpc_op(call, OP_DELETE);
	enum err e = codec_delete(&codec, message, &op->in.delete_range);

	if (e) {
		rpc_fail_decode(call, &codec, e);
		return;
	}
	e = check_delete(&op->in.delete_range);
	if (!e)
		e = rpc_check_size(rpc_of(call), message);
	if (!op->in.delete_range.prev_kv)
		op->arena = NULL;
	if (e)
		call_fail(call, e);
	else
		rpc_submit(call, delete_reply);
}

/* --- Txn --- */

static void txn_reply(struct call *call, const struct op *op)
{
	struct wire_header header = rpc_header(rpc_of(call), op->out.txn.revision);
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);

	reply_or_fail(call, encode_txn(&header, &op->out.txn, call_arena(call), &out), &out);
}

/* etcd's order: the quota, the request itself, and its size unless it only reads. */
static enum err txn_check(const struct rpc_server *server, const struct txn_op *txn,
			  struct bytes message)
{
	int64_t cost = check_txn_cost(txn);
	enum err e = cost ? store_quota_check(server->config.store, cost) : ERR_OK;

	if (!e)
		e = check_txn(txn, server->config.txn_ops_max);
	if (!e && !check_txn_is_read_only(txn))
		e = rpc_check_size(server, message);
	return e;
}

void kv_txn(struct call *call, struct bytes message)
{
	struct codec codec = CODEC_INIT(call_arena(call));
	struct op *op = rpc_op(call, OP_TXN);
	enum err e = codec_txn(&codec, message, &op->in.txn);

	if (e) {
		rpc_fail_decode(call, &codec, e);
		return;
	}
	e = txn_check(rpc_of(call), &op->in.txn, message);
	if (e)
		call_fail(call, e);
	else
		rpc_submit(call, txn_reply);
}

/* --- Compact --- */

static void compact_reply(struct call *call, const struct op *op)
{
	rpc_reply_header(call, op->revision);
}

void kv_compact(struct call *call, struct bytes message)
{
	struct op *op = rpc_op(call, OP_COMPACT);
	uint64_t numbers[2];
	enum err e;

	if (!rpc_take_numbers(call, message, numbers, 2))
		return;
	op->in.compact.revision = (int64_t)numbers[0];
	op->in.compact.physical = numbers[1];
	e = rpc_check_size(rpc_of(call), message);
	if (e)
		call_fail(call, e);
	else
		rpc_submit(call, compact_reply);
}
