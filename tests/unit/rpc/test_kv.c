/* SPDX-License-Identifier: Apache-2.0 */
/* The KV service from HTTP/2 down to the store. */
#include "tests/unit/rpc/rpc_rig.h"

#include <stdio.h>

static int setup(void **state)
{
	*state = rpc_rig_new(NULL);
	return 0;
}

static int teardown(void **state)
{
	rpc_rig_free(*state);
	return 0;
}

static struct peer_stream *put(struct rpc_rig *rig, const char *key, const char *value)
{
	Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;

	request.key = binary(key);
	request.value = binary(value);
	return rpc_rig_call(rig, KV_PATH("Put"), &request.base);
}

/* --- Put, Range, DeleteRange --- */

static void test_put_and_range(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__PutRequest put_request = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
	Etcdserverpb__PutResponse *put_response;
	Etcdserverpb__RangeResponse *response;

	assert_answer(put(rig, "k", "v1"), ERR_OK);
	put_request.key = binary("k");
	put_request.value = binary("v2");
	put_request.prev_kv = true;
	RPC_ANSWER(rig, KV_PATH("Put"), &put_request, etcdserverpb__put_response__unpack,
		   put_response);
	assert_int_equal(put_response->header->revision, 3);
	assert_true(put_response->header->member_id == rig->rpc.identity.member_id);
	assert_true(put_response->header->cluster_id == rig->rpc.identity.cluster_id);
	assert_true(put_response->header->raft_term == rig->rpc.identity.term);
	assert_binary(put_response->prev_kv->value, "v1");
	etcdserverpb__put_response__free_unpacked(put_response, NULL);
	request.key = binary("k");
	request.revision = 2;
	RPC_ANSWER(rig, KV_PATH("Range"), &request, etcdserverpb__range_response__unpack, response);
	assert_int_equal(response->header->revision, 3); /* not the one asked for */
	assert_int_equal(response->n_kvs, 1);
	assert_int_equal(response->count, 1);
	assert_binary(response->kvs[0]->value, "v1");
	etcdserverpb__range_response__free_unpacked(response, NULL);
	request.revision = 9;
	assert_answer(rpc_rig_call(rig, KV_PATH("Range"), &request.base), ERR_FUTURE_REVISION);
}

static void test_checks_come_before_the_store(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
	Etcdserverpb__PutRequest put_request = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__DeleteRangeRequest delete = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
	Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
	Etcdserverpb__RequestOp nothing = ETCDSERVERPB__REQUEST_OP__INIT;
	Etcdserverpb__RequestOp *ops[] = {&nothing};

	assert_answer(rpc_rig_call(rig, KV_PATH("Range"), &range.base), ERR_EMPTY_KEY);
	assert_answer(rpc_rig_call(rig, KV_PATH("RangeStream"), &range.base), ERR_EMPTY_KEY);
	assert_answer(rpc_rig_call(rig, KV_PATH("Put"), &put_request.base), ERR_EMPTY_KEY);
	assert_answer(rpc_rig_call(rig, KV_PATH("DeleteRange"), &delete.base), ERR_EMPTY_KEY);
	txn.n_success = 1;
	txn.success = ops;
	assert_answer(rpc_rig_call(rig, KV_PATH("Txn"), &txn.base), ERR_KEY_NOT_FOUND);
	range.key = binary("k");
	range.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
	assert_answer(rpc_rig_call(rig, KV_PATH("RangeStream"), &range.base), ERR_STREAM_SORT);
	put_request.key = binary("k");
	put_request.ignore_value = true;
	assert_answer(rpc_rig_call(rig, KV_PATH("Put"), &put_request.base), ERR_KEY_NOT_FOUND);
	put_request.ignore_value = false;
	put_request.lease = 99;
	assert_answer(rpc_rig_call(rig, KV_PATH("Put"), &put_request.base), ERR_LEASE_NOT_FOUND);
}

static void test_malformed_requests(void **state)
{
	struct rpc_rig *rig = *state;
	int32_t id = h2_peer_call(&rig->peer, KV_PATH("Put"), NULL);
	int32_t stream = h2_peer_call(&rig->peer, KV_PATH("RangeStream"), NULL);

	h2_peer_message(&rig->peer, id, BYTES_LITERAL("\x0a\x05x"), true);
	h2_peer_message(&rig->peer, stream, BYTES_LITERAL("\x0a\x05x"), true);
	assert_string_equal(rpc_rig_finish(rig, id)->grpc_message,
			    "grpc: error unmarshalling request: proto: cannot parse invalid "
			    "wire-format data");
	assert_int_equal(h2_peer_stream(&rig->peer, id)->grpc_status, STATUS_INTERNAL);
	assert_string_equal(rpc_rig_finish(rig, stream)->grpc_message,
			    "grpc: failed to unmarshal the received message: proto: cannot parse "
			    "invalid wire-format data");
}

static void test_delete_range(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
	Etcdserverpb__DeleteRangeResponse *response;

	put(rig, "a1", "x");
	put(rig, "a2", "y");
	request.key = binary("a");
	request.range_end = binary("b");
	request.prev_kv = true;
	RPC_ANSWER(rig, KV_PATH("DeleteRange"), &request,
		   etcdserverpb__delete_range_response__unpack, response);
	assert_int_equal(response->deleted, 2);
	assert_int_equal(response->header->revision, 4);
	assert_int_equal(response->n_prev_kvs, 2);
	assert_binary(response->prev_kvs[1]->value, "y");
	etcdserverpb__delete_range_response__free_unpacked(response, NULL);
	request.prev_kv = false;
	RPC_ANSWER(rig, KV_PATH("DeleteRange"), &request,
		   etcdserverpb__delete_range_response__unpack, response);
	assert_int_equal(response->deleted, 0);
	assert_int_equal(response->header->revision, 4);
	etcdserverpb__delete_range_response__free_unpacked(response, NULL);
}

static void test_too_large_is_measured_with_its_envelope(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
	size_t size = REQUEST_BYTES_DEFAULT - 40;

	request.key = binary("k");
	request.value = (ProtobufCBinaryData){size, calloc(1, REQUEST_BYTES_DEFAULT + MIB)};
	assert_non_null(request.value.data);
	assert_answer(rpc_rig_call(rig, KV_PATH("Put"), &request.base), ERR_OK);
	request.value.len = REQUEST_BYTES_DEFAULT - 10;
	assert_answer(rpc_rig_call(rig, KV_PATH("Put"), &request.base), ERR_REQUEST_TOO_LARGE);
	request.value.len = REQUEST_BYTES_DEFAULT + REQUEST_OVERHEAD_BYTES;
	assert_int_equal(rpc_rig_call(rig, KV_PATH("Put"), &request.base)->grpc_status,
			 STATUS_RESOURCE_EXHAUSTED);
	free(request.value.data);
}

/* --- Txn, Compact --- */

static void test_txn_as_kube_apiserver_sends_it(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
	Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
	Etcdserverpb__Compare *compares[] = {&compare};
	Etcdserverpb__RequestOp write = ETCDSERVERPB__REQUEST_OP__INIT;
	Etcdserverpb__RequestOp read = ETCDSERVERPB__REQUEST_OP__INIT;
	Etcdserverpb__RequestOp *success[] = {&write}, *failure[] = {&read};
	Etcdserverpb__PutRequest put_request = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
	Etcdserverpb__TxnResponse *response;

	compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
	compare.key = put_request.key = range.key = binary("/registry/x");
	compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
	put_request.value = binary("object");
	write.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
	write.request_put = &put_request;
	read.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
	read.request_range = &range;
	txn.n_compare = txn.n_success = txn.n_failure = 1;
	txn.compare = compares;
	txn.success = success;
	txn.failure = failure;
	RPC_ANSWER(rig, KV_PATH("Txn"), &txn, etcdserverpb__txn_response__unpack, response);
	assert_true(response->succeeded);
	assert_int_equal(response->header->revision, 2);
	assert_int_equal(response->responses[0]->response_put->header->revision, 2);
	assert_true(response->responses[0]->response_put->header->member_id == 0);
	etcdserverpb__txn_response__free_unpacked(response, NULL);
	RPC_ANSWER(rig, KV_PATH("Txn"), &txn, etcdserverpb__txn_response__unpack, response);
	assert_false(response->succeeded);
	assert_int_equal(response->header->revision, 2);
	assert_binary(response->responses[0]->response_range->kvs[0]->value, "object");
	etcdserverpb__txn_response__free_unpacked(response, NULL);
}

static void test_compact(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
	Etcdserverpb__CompactionResponse *response;
	Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;

	put(rig, "k", "1");
	put(rig, "k", "2");
	request.revision = 3;
	request.physical = true;
	RPC_ANSWER(rig, KV_PATH("Compact"), &request, etcdserverpb__compaction_response__unpack,
		   response);
	assert_int_equal(response->header->revision, 3);
	etcdserverpb__compaction_response__free_unpacked(response, NULL);
	assert_answer(rpc_rig_call(rig, KV_PATH("Compact"), &request.base), ERR_COMPACTED);
	request.revision = 9;
	assert_answer(rpc_rig_call(rig, KV_PATH("Compact"), &request.base), ERR_FUTURE_REVISION);
	range.key = binary("k");
	range.revision = 2;
	assert_answer(rpc_rig_call(rig, KV_PATH("Range"), &range.base), ERR_COMPACTED);
	assert_answer(rpc_rig_call(rig, KV_PATH("RangeStream"), &range.base), ERR_COMPACTED);
}

/* --- big answers --- */

#define BIG_COUNT 300

static void fill(struct rpc_rig *rig, size_t value_bytes)
{
	char *value = malloc(value_bytes + 1);
	char key[16];

	assert_non_null(value);
	for (unsigned i = 0; i < BIG_COUNT; i++) {
		snprintf(key, sizeof(key), "big/%03u", i);
		/* One in ten is empty, one far larger than a slice.  No two places look alike. */
		for (size_t at = 0; at < value_bytes; at++)
			value[at] = (char)('a' + (i + at % 25 + at / 1000) % 26);
		value[i % 10 == 5 ? 0 : i == 77 ? value_bytes : value_bytes / 50] = 0;
		rig_put(&rig->store, key, value);
	}
	free(value);
}

static void assert_big(const struct rpc_rig *rig, const Etcdserverpb__RangeResponse *response,
		       size_t first)
{
	for (size_t i = 0; i < response->n_kvs; i++) {
		char key[16];
		const struct kv *wanted;

		snprintf(key, sizeof(key), "big/%03u", (unsigned)(first + i));
		wanted = rig_get((struct rig *)(uintptr_t)&rig->store, key, 0);
		assert_binary(response->kvs[i]->key, key);
		assert_int_equal(response->kvs[i]->value.len, wanted->value.size);
		assert_int_equal(response->kvs[i]->mod_revision, wanted->mod_revision);
		if (wanted->value.size)
			assert_memory_equal(response->kvs[i]->value.data, wanted->value.data,
					    wanted->value.size);
	}
}

static Etcdserverpb__RangeRequest big_range(void)
{
	Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;

	request.key = binary("big/");
	request.range_end = binary("big0");
	return request;
}

static void test_a_big_range_is_one_message(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__RangeRequest request = big_range();
	Etcdserverpb__RangeResponse *response;

	fill(rig, 500000);
	RPC_ANSWER(rig, KV_PATH("Range"), &request, etcdserverpb__range_response__unpack, response);
	assert_int_equal(response->n_kvs, BIG_COUNT);
	assert_int_equal(response->count, BIG_COUNT);
	assert_int_equal(response->header->revision, BIG_COUNT + 1);
	assert_big(rig, response, 0);
	etcdserverpb__range_response__free_unpacked(response, NULL);
	request.limit = 200;
	RPC_ANSWER(rig, KV_PATH("Range"), &request, etcdserverpb__range_response__unpack, response);
	assert_int_equal(response->n_kvs, 200);
	assert_int_equal(response->count, BIG_COUNT);
	assert_true(response->more);
	etcdserverpb__range_response__free_unpacked(response, NULL);
}

static void test_a_range_that_nobody_reads_lets_go_of_its_cursor(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__RangeRequest request = big_range();
	int32_t id;

	fill(rig, 500000);
	rpc_rig_disconnect(rig);
	rpc_rig_connect(rig, &(struct h2_peer_options){.is_stingy = true});
	id = rpc_rig_start(rig, KV_PATH("Range"), &request.base);
	rpc_rig_turn(rig);
	assert_false(h2_peer_stream(&rig->peer, id)->is_ended);
	assert_true(h2_peer_stream(&rig->peer, id)->data.size > 0);
	/* The end of the connection closes cursor and timer; the store would not close with them.
	 */
	rpc_rig_disconnect(rig);
}

static void assert_stream(struct rpc_rig *rig, const Etcdserverpb__RangeRequest *request,
			  size_t kvs, bool more)
{
	struct peer_stream *stream = rpc_rig_call(rig, KV_PATH("RangeStream"), &request->base);
	struct bytes message;
	size_t offset = 0, seen = 0, messages = 0;
	bool has_header = false;

	assert_answer(stream, ERR_OK);
	while (h2_peer_next(&rig->peer, stream->id, &offset, &message)) {
		Etcdserverpb__RangeStreamResponse *part =
			etcdserverpb__range_stream_response__unpack(NULL, message.size,
								    message.data);
		Etcdserverpb__RangeResponse *response = part->range_response;

		assert_false(has_header); /* only the last one has it */
		has_header = response->header;
		assert_big(rig, response, seen);
		seen += response->n_kvs;
		messages++;
		if (has_header) {
			assert_int_equal(response->header->revision, BIG_COUNT + 1);
			assert_int_equal(response->count, BIG_COUNT);
			assert_true(response->more == more);
		} else {
			assert_true(response->n_kvs > 0 && !response->more && !response->count);
		}
		etcdserverpb__range_stream_response__free_unpacked(part, NULL);
	}
	assert_true(has_header);
	assert_int_equal(seen, kvs);
	assert_true(kvs < 100 ? messages == 1 : messages > 3);
}

static void test_range_stream(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__RangeRequest request = big_range();

	fill(rig, 500000);
	assert_stream(rig, &request, BIG_COUNT, false);
	request.limit = 250;
	assert_stream(rig, &request, 250, true);
	request.limit = 2;
	assert_stream(rig, &request, 2, true);
	request.count_only = true;
	assert_stream(rig, &request, 0, false);
}

static void test_range_stream_of_nothing_is_one_message(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
	Etcdserverpb__RangeStreamResponse *response;

	request.key = binary("none");
	RPC_ANSWER(rig, KV_PATH("RangeStream"), &request,
		   etcdserverpb__range_stream_response__unpack, response);
	assert_int_equal(response->range_response->header->revision, 1);
	assert_int_equal(response->range_response->n_kvs, 0);
	etcdserverpb__range_stream_response__free_unpacked(response, NULL);
}

/* --- bad ends --- */

static void test_a_connection_lost_during_a_write(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;

	request.key = binary("k");
	request.prev_kv = true;
	for (unsigned i = 0; i < 50; i++)
		rpc_rig_start(rig, KV_PATH("Put"), &request.base);
	h2_peer_exchange(&rig->peer);
	rpc_rig_disconnect(rig);
	rpc_rig_connect(rig, NULL);
	assert_answer(put(rig, "k", "last"), ERR_OK);
	assert_non_null(rig_get(&rig->store, "k", 0));
}

static void test_a_stopped_store_is_unavailable(void **state)
{
	struct rpc_rig *rig = *state;

	store_stop(rig->store.store);
	assert_answer(put(rig, "k", "v"), ERR_STOPPED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_put_and_range),
		TEST(test_checks_come_before_the_store),
		TEST(test_malformed_requests),
		TEST(test_delete_range),
		TEST(test_too_large_is_measured_with_its_envelope),
		TEST(test_txn_as_kube_apiserver_sends_it),
		TEST(test_compact),
		TEST(test_a_big_range_is_one_message),
		TEST(test_a_range_that_nobody_reads_lets_go_of_its_cursor),
		TEST(test_range_stream),
		TEST(test_range_stream_of_nothing_is_one_message),
		TEST(test_a_connection_lost_during_a_write),
		TEST(test_a_stopped_store_is_unavailable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
