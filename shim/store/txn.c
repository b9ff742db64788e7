/* SPDX-License-Identifier: Apache-2.0 */
/* txn.c - transactions, exactly as etcd's server/etcdserver/txn/txn.go.
 *
 * 1. All compares, those of nested transactions on the taken path too, see the state before the
 *    transaction: txn_decide() runs over the whole tree before anything else.
 * 2. Only the taken path is checked, also against the state before: txn_check().  It is complete:
 *    after it nothing but a fault can fail, so a transaction is whole or not there.
 * 3. Ops run in order; each sees the writes of those before it: batch_sees().
 * 4. All writes share one revision; an op reports it from the first write on, before that the
 *    revision in front of it. */
#include "shim/store/batch.h"

#include "shim/store/read.h"

#include <assert.h>

bool txn_is_readonly(const struct txn_op *txn)
{
	/* etcd counts a nested transaction as a write whatever is in it. */
	for (size_t i = 0; i < txn->success_count; i++)
		if (txn->success[i].kind != REQUEST_RANGE)
			return false;
	for (size_t i = 0; i < txn->failure_count; i++)
		if (txn->failure[i].kind != REQUEST_RANGE)
			return false;
	return true;
}

static bool request_has_put(const struct request *request)
{
	return request->kind == REQUEST_PUT ||
	       (request->kind == REQUEST_TXN && txn_has_put(request->as.txn));
}

bool txn_has_put(const struct txn_op *txn)
{
	for (size_t i = 0; i < txn->success_count; i++)
		if (request_has_put(&txn->success[i]))
			return true;
	for (size_t i = 0; i < txn->failure_count; i++)
		if (request_has_put(&txn->failure[i]))
			return true;
	return false;
}

/* --- compares -------------------------------------------------------------------------------- */

struct comparing {
	struct batch *batch;
	const struct compare *compare;
	bool any;
	bool holds;
	enum err err;
};

static bool result_holds(int result, int order)
{
	switch (result) {
	case COMPARE_EQUAL:
		return order == 0;
	case COMPARE_NOT_EQUAL:
		return order != 0;
	case COMPARE_GREATER:
		return order > 0;
	case COMPARE_LESS:
		return order < 0;
	default: /* as etcd: an unknown relation holds */
		return true;
	}
}

static int order_of(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_number(const struct compare *compare, const struct version *version)
{
	switch (compare->target) {
	case COMPARE_VERSION:
		return order_of(version->version, compare->number);
	case COMPARE_CREATE:
		return order_of(version->create_revision, compare->number);
	case COMPARE_MOD:
		return order_of(row_main(version->row), compare->number);
	case COMPARE_LEASE:
		return order_of(version->lease, compare->number);
	default: /* as etcd: an unknown target compares as equal */
		return 0;
	}
}

static bool compare_visit(void *context, struct bytes key, const struct version *version)
{
	struct comparing *comparing = context;
	const struct compare *compare = comparing->compare;
	struct kv kv;
	int order;

	comparing->any = true;
	if (compare->target == COMPARE_VALUE) {
		comparing->err = batch_kv(comparing->batch, key, version, NULL, &kv);
		if (comparing->err)
			return false;
		order = bytes_compare(kv.value, compare->value);
	} else {
		order = compare_number(compare, version);
	}
	comparing->holds = result_holds(compare->result, order);
	return comparing->holds;
}

static enum err compare_holds(struct batch *batch, const struct compare *compare, bool *ret_holds)
{
	const struct index *index = batch->store->index;
	struct comparing comparing = {.batch = batch, .compare = compare, .holds = true};

	if (range_is_single(compare->end)) {
		const struct version *version = index_get(index, compare->key, batch->head);

		if (version && !version->tombstone)
			compare_visit(&comparing, compare->key, version);
	} else {
		index_scan(index, compare->key, compare->end, batch->head, compare_visit,
			   &comparing);
	}
	if (!comparing.any) /* a missing key is all zero, but has no value to compare */
		comparing.holds = compare->target != COMPARE_VALUE &&
				  result_holds(compare->result,
					       compare_number(compare, &(struct version){0}));
	*ret_holds = comparing.holds;
	return comparing.err;
}

/* --- rule 1: the path ------------------------------------------------------------------------ */

static const struct request *taken(const struct txn_op *txn, const struct txn_result *result)
{
	return result->succeeded ? txn->success : txn->failure;
}

static enum err txn_decide(struct batch *batch, const struct txn_op *txn, struct arena *arena,
			   struct txn_result *result)
{
	const struct request *requests;
	enum err e = ERR_OK;

	*result = (struct txn_result){.succeeded = true};
	for (size_t i = 0; i < txn->compare_count && result->succeeded && !e; i++)
		e = compare_holds(batch, &txn->compares[i], &result->succeeded);
	if (e)
		return e;
	result->response_count = result->succeeded ? txn->success_count : txn->failure_count;
	if (!result->response_count)
		return ERR_OK;
	result->responses = arena_calloc(arena, result->response_count, sizeof(struct response));
	if (!result->responses)
		return fault(ERR_NOMEM, "a transaction of %zu ops", result->response_count);
	requests = taken(txn, result);
	for (size_t i = 0; i < result->response_count && !e; i++) {
		result->responses[i].kind = requests[i].kind;
		if (requests[i].kind == REQUEST_TXN)
			e = txn_decide(batch, requests[i].as.txn, arena,
				       &result->responses[i].as.txn);
	}
	return e;
}

/* --- rule 2: checks -------------------------------------------------------------------------- */

static enum err check_range(const struct batch *batch, const struct range_op *range)
{
	if (range->revision == 0)
		return ERR_OK;
	if (range->revision > batch->head)
		return ERR_FUTURE_REVISION;
	return range->revision < batch_compacted(batch) ? ERR_COMPACTED : ERR_OK;
}

static enum err txn_check(struct batch *batch, const struct txn_op *txn,
			  const struct txn_result *result)
{
	const struct request *requests = taken(txn, result);
	enum err e = ERR_OK;

	for (size_t i = 0; i < result->response_count && !e; i++) {
		switch (requests[i].kind) {
		case REQUEST_RANGE:
			e = check_range(batch, &requests[i].as.range);
			break;
		case REQUEST_PUT:
			e = batch_put_check(batch, &requests[i].as.put);
			break;
		case REQUEST_TXN:
			e = txn_check(batch, requests[i].as.txn, &result->responses[i].as.txn);
			break;
		case REQUEST_DELETE:
			break;
		}
	}
	return e;
}

/* --- rules 3 and 4: execution ---------------------------------------------------------------- */

static enum err run_range(struct batch *batch, const struct range_op *range, struct arena *arena,
			  struct range_result *ret_result)
{
	struct range_source source = {.index = batch->store->index, .conn = batch->conn};
	int64_t revision = range->revision > 0 ? range->revision : batch_sees(batch);
	struct range_result result = {.revision = batch_sees(batch)};
	struct range_set set;
	enum err e = range_gather(&source, range, revision, &set);

	if (e)
		return e;
	e = range_deliver(&source, range, &set, arena, &result);
	range_set_fini(&set);
	if (!e)
		*ret_result = result;
	return e;
}

static enum err txn_execute(struct batch *batch, const struct txn_op *txn, struct arena *arena,
			    struct txn_result *result)
{
	const struct request *requests = taken(txn, result);
	enum err e = ERR_OK;

	for (size_t i = 0; i < result->response_count && !e; i++) {
		const struct request *request = &requests[i];
		struct response *response = &result->responses[i];

		switch (request->kind) {
		case REQUEST_RANGE:
			e = run_range(batch, &request->as.range, arena, &response->as.range);
			break;
		case REQUEST_PUT:
			e = batch_put(batch, &request->as.put, arena, &response->as.put);
			break;
		case REQUEST_DELETE:
			e = batch_delete(batch, &request->as.delete_range, arena,
					 &response->as.delete_range);
			break;
		case REQUEST_TXN:
			e = txn_execute(batch, request->as.txn, arena, &response->as.txn);
			break;
		}
	}
	result->revision = batch_sees(batch);
	return e;
}

enum err batch_txn(struct batch *batch, const struct txn_op *txn, struct arena *arena,
		   struct txn_result *ret_result)
{
	struct txn_result result;
	enum err e;

	assert(arena); /* responses need memory */
	assert(!batch_dirty(batch));
	e = txn_decide(batch, txn, arena, &result);
	if (!e)
		e = txn_check(batch, txn, &result);
	if (!e)
		e = txn_execute(batch, txn, arena, &result);
	if (e)
		return e;
	batch->txns++;
	*ret_result = result;
	return ERR_OK;
}
