/* SPDX-License-Identifier: Apache-2.0 */
#include "api/check.h"

enum err check_range(const struct range_op *op)
{
	if (!op->key.size)
		return ERR_EMPTY_KEY;
	if ((int)op->order < SORT_NONE || (int)op->order > SORT_DESCEND)
		return ERR_INVALID_SORT;
	if ((int)op->target < SORT_KEY || (int)op->target > SORT_VALUE)
		return ERR_INVALID_SORT;
	return ERR_OK;
}

enum err check_range_stream(const struct range_op *op)
{
	enum err e = check_range(op);

	if (e)
		return e;
	if (op->order != SORT_NONE && (op->order != SORT_ASCEND || op->target != SORT_KEY))
		return ERR_STREAM_SORT;
	if (op->min_mod_revision || op->max_mod_revision || op->min_create_revision ||
	    op->max_create_revision)
		return ERR_STREAM_FILTER;
	return ERR_OK;
}

enum err check_put(const struct put_op *op)
{
	if (!op->key.size)
		return ERR_EMPTY_KEY;
	if (op->ignore_value && op->value.size)
		return ERR_VALUE_PROVIDED;
	if (op->ignore_lease && op->lease)
		return ERR_LEASE_PROVIDED;
	return ERR_OK;
}

enum err check_delete(const struct delete_op *op)
{
	return op->key.size ? ERR_OK : ERR_EMPTY_KEY;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static enum err check_level(const struct txn_op *op, size_t ops_max);

static enum err check_request(const struct request *request, size_t ops_max)
{
	switch (request->kind) {
	case REQUEST_RANGE:
		return check_range(&request->as.range);
	case REQUEST_PUT:
		return check_put(&request->as.put);
	case REQUEST_DELETE:
		return check_delete(&request->as.delete_range);
	case REQUEST_TXN:
		break;
	}
	if (!request->as.txn)
		return ERR_KEY_NOT_FOUND; /* nothing was set: etcd's word for it */
	return check_level(request->as.txn, ops_max);
}

/* What a level uses is gone for the levels below it. */
static enum err check_level(const struct txn_op *op, size_t ops_max)
{
	size_t used = larger(op->compare_count, larger(op->success_count, op->failure_count));
	enum err e = used > ops_max ? ERR_TOO_MANY_OPS : ERR_OK;

	for (size_t i = 0; !e && i < op->compare_count; i++)
		e = op->compares[i].key.size ? ERR_OK : ERR_EMPTY_KEY;
	for (size_t i = 0; !e && i < op->success_count; i++)
		e = check_request(&op->success[i], ops_max - used);
	for (size_t i = 0; !e && i < op->failure_count; i++)
		e = check_request(&op->failure[i], ops_max - used);
	return e;
}

enum err check_txn(const struct txn_op *op, size_t ops_max)
{
	enum err e = check_level(op, ops_max);

	return e ? e : check_txn_keys(op);
}

static bool are_ranges(const struct request *requests, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (requests[i].kind != REQUEST_RANGE)
			return false;
	}
	return true;
}

bool check_txn_is_read_only(const struct txn_op *op)
{
	return are_ranges(op->success, op->success_count) &&
	       are_ranges(op->failure, op->failure_count);
}

int64_t check_put_cost(const struct put_op *op)
{
	return COST_KV_BYTES + (int64_t)op->key.size + (int64_t)op->value.size;
}

static int64_t branch_cost(const struct request *requests, size_t count)
{
	int64_t cost = 0;

	for (size_t i = 0; i < count; i++) {
		if (requests[i].kind == REQUEST_PUT)
			cost += check_put_cost(&requests[i].as.put);
		else if (requests[i].kind == REQUEST_TXN && requests[i].as.txn)
			cost += check_txn_cost(requests[i].as.txn);
	}
	return cost;
}

int64_t check_txn_cost(const struct txn_op *op)
{
	int64_t success = branch_cost(op->success, op->success_count);
	int64_t failure = branch_cost(op->failure, op->failure_count);

	return success > failure ? success : failure;
}

static size_t varint_size(uint64_t value)
{
	size_t size = 1;

	for (; value >= 0x80; value >>= 7)
		size++;
	return size;
}

enum err check_size(size_t message_bytes, uint64_t member_id, size_t request_bytes_max)
{
	/* The request's number has the low 16 bits of the member id on top; what is below decides
	 * its size only when those are zero, and is then milliseconds << 8. */
	uint64_t number = (member_id & 0xffff) << 48 | (UINT64_C(1) << 47);
	size_t header = 1 + varint_size(number);
	size_t envelope = 2 + 1 + header + 1 + varint_size(message_bytes);

	if (message_bytes > request_bytes_max || envelope > request_bytes_max - message_bytes)
		return ERR_REQUEST_TOO_LARGE;
	return ERR_OK;
}
