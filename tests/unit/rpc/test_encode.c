/* SPDX-License-Identifier: Apache-2.0 */
/* Answers written by hand, read back with protobuf-c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/proto/rpc.pb-c.h"
#include "shim/base/limits.h"
#include "shim/rpc/encode.h"
#include "tests/harness/store_rig.h"

#include <stdlib.h>

static const struct wire_header header = {
	.cluster_id = UINT64_MAX, .member_id = 2, .revision = 3, .raft_term = 4};

/* --- random results --- */

static struct bytes random_bytes(struct rig_random *random, struct arena *arena, size_t size)
{
	uint8_t *data = arena_alloc(arena, size + 1);

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)rig_random(random, 256);
	return bytes_of(data, size);
}

static int64_t random_number(struct rig_random *random)
{
	uint64_t bits = rig_random(random, 65);

	if (bits == 0)
		return 0;
	return (int64_t)(rig_random(random, UINT64_MAX) >> (64 - bits));
}

static struct kv random_kv(struct rig_random *random, struct arena *arena)
{
	return (struct kv){
		.key = random_bytes(random, arena, rig_random(random, 20)),
		.value = random_bytes(random, arena,
				      rig_random(random, 4) ? rig_random(random, 40)
							    : rig_random(random, 20000)),
		.create_revision = random_number(random),
		.mod_revision = random_number(random),
		.version = random_number(random),
		.lease = random_number(random),
	};
}

static struct kv *random_kvs(struct rig_random *random, struct arena *arena, size_t count)
{
	struct kv *kvs = arena_calloc(arena, count + 1, sizeof(*kvs));

	for (size_t i = 0; i < count; i++)
		kvs[i] = random_kv(random, arena);
	return kvs;
}

static void random_response(struct rig_random *random, struct arena *arena, unsigned depth,
			    struct response *ret);

static struct txn_result random_txn(struct rig_random *random, struct arena *arena, unsigned depth)
{
	struct txn_result result = {.revision = random_number(random)};

	result.succeeded = rig_random(random, 2);
	result.response_count = rig_random(random, 5);
	result.responses =
		arena_calloc(arena, result.response_count + 1, sizeof(*result.responses));
	for (size_t i = 0; i < result.response_count; i++)
		random_response(random, arena, depth, &result.responses[i]);
	return result;
}

static void random_response(struct rig_random *random, struct arena *arena, unsigned depth,
			    struct response *ret)
{
	ret->kind = (enum request_kind)rig_random(random, depth ? 4 : 3);
	switch (ret->kind) {
	case REQUEST_RANGE:
		ret->as.range.revision = random_number(random);
		ret->as.range.kv_count = rig_random(random, 4);
		ret->as.range.kvs = random_kvs(random, arena, ret->as.range.kv_count);
		ret->as.range.count = random_number(random);
		ret->as.range.more = rig_random(random, 2);
		break;
	case REQUEST_PUT:
		ret->as.put.revision = random_number(random);
		ret->as.put.has_prev = rig_random(random, 2);
		ret->as.put.prev = random_kv(random, arena);
		break;
	case REQUEST_DELETE:
		ret->as.delete_range.revision = random_number(random);
		ret->as.delete_range.deleted = random_number(random);
		ret->as.delete_range.prev_count = rig_random(random, 4);
		ret->as.delete_range.prevs =
			random_kvs(random, arena, ret->as.delete_range.prev_count);
		break;
	case REQUEST_TXN:
		ret->as.txn = random_txn(random, arena, depth - 1);
		break;
	}
}

/* --- comparing --- */

static void assert_header(const Etcdserverpb__ResponseHeader *got, const struct wire_header *wanted)
{
	assert_non_null(got);
	assert_true(got->cluster_id == wanted->cluster_id);
	assert_true(got->member_id == wanted->member_id);
	assert_true(got->revision == wanted->revision);
	assert_true(got->raft_term == wanted->raft_term);
}

static void assert_inner_header(const Etcdserverpb__ResponseHeader *got, int64_t revision)
{
	assert_header(got, &(struct wire_header){.revision = revision});
}

static void assert_bytes(ProtobufCBinaryData got, struct bytes wanted)
{
	assert_true(bytes_equal(bytes_of(got.data, got.len), wanted));
}

static void assert_kv(const Mvccpb__KeyValue *got, const struct kv *wanted)
{
	assert_bytes(got->key, wanted->key);
	assert_bytes(got->value, wanted->value);
	assert_true(got->create_revision == wanted->create_revision);
	assert_true(got->mod_revision == wanted->mod_revision);
	assert_true(got->version == wanted->version);
	assert_true(got->lease == wanted->lease);
}

static void assert_kvs(Mvccpb__KeyValue **got, size_t got_count, const struct kv *wanted,
		       size_t count)
{
	assert_int_equal(got_count, count);
	for (size_t i = 0; i < count; i++)
		assert_kv(got[i], &wanted[i]);
}

static void assert_range(const Etcdserverpb__RangeResponse *got, const struct range_result *wanted)
{
	assert_kvs(got->kvs, got->n_kvs, wanted->kvs, wanted->kv_count);
	assert_true(got->more == wanted->more);
	assert_true(got->count == wanted->count);
}

static void assert_put(const Etcdserverpb__PutResponse *got, const struct put_result *wanted)
{
	assert_true(!!got->prev_kv == wanted->has_prev);
	if (wanted->has_prev)
		assert_kv(got->prev_kv, &wanted->prev);
}

static void assert_delete(const Etcdserverpb__DeleteRangeResponse *got,
			  const struct delete_result *wanted)
{
	assert_true(got->deleted == wanted->deleted);
	assert_kvs(got->prev_kvs, got->n_prev_kvs, wanted->prevs, wanted->prev_count);
}

static void assert_txn(const Etcdserverpb__TxnResponse *got, const struct txn_result *wanted);

static void assert_response(const Etcdserverpb__ResponseOp *got, const struct response *wanted)
{
	assert_int_equal(got->response_case, (int)wanted->kind + 1);
	switch (wanted->kind) {
	case REQUEST_RANGE:
		assert_inner_header(got->response_range->header, wanted->as.range.revision);
		assert_range(got->response_range, &wanted->as.range);
		break;
	case REQUEST_PUT:
		assert_inner_header(got->response_put->header, wanted->as.put.revision);
		assert_put(got->response_put, &wanted->as.put);
		break;
	case REQUEST_DELETE:
		assert_inner_header(got->response_delete_range->header,
				    wanted->as.delete_range.revision);
		assert_delete(got->response_delete_range, &wanted->as.delete_range);
		break;
	case REQUEST_TXN:
		assert_inner_header(got->response_txn->header, 0);
		assert_txn(got->response_txn, &wanted->as.txn);
		break;
	}
}

static void assert_txn(const Etcdserverpb__TxnResponse *got, const struct txn_result *wanted)
{
	assert_true(got->succeeded == wanted->succeeded);
	assert_int_equal(got->n_responses, wanted->response_count);
	for (size_t i = 0; i < wanted->response_count; i++)
		assert_response(got->responses[i], &wanted->responses[i]);
}

/* --- tests --- */

static void test_answers_read_back_as_they_were(void **unused)
{
	struct rig_random random = {rig_seed()};

	(void)unused;
	for (unsigned round = 0; round < 2000; round++) {
		struct buffer out = BUFFER_INIT(64 * MIB);
		Etcdserverpb__TxnResponse *got;
		struct txn_result result;
		struct arena arena;

		arena_init(&arena, 64 * MIB);
		result = random_txn(&random, &arena, (unsigned)rig_random(&random, 5));
		assert_int_equal(encode_txn(&header, &result, &arena, &out), ERR_OK);
		got = etcdserverpb__txn_response__unpack(NULL, out.size, buffer_bytes(&out).data);
		assert_non_null(got);
		assert_header(got->header, &header);
		assert_txn(got, &result);
		/* Nothing superfluous: protobuf-c packs it into as many bytes. */
		assert_int_equal(etcdserverpb__txn_response__get_packed_size(got), out.size);
		etcdserverpb__txn_response__free_unpacked(got, NULL);
		buffer_fini(&out);
		arena_fini(&arena);
	}
}

static void test_plain_answers_carry_the_whole_header(void **unused)
{
	struct range_result range = {.count = 5, .more = true};
	struct put_result put = {.has_prev = true};
	struct delete_result delete = {.deleted = 1};
	struct buffer out = BUFFER_INIT(MIB);
	Etcdserverpb__RangeResponse *got_range;
	Etcdserverpb__PutResponse *got_put;
	Etcdserverpb__DeleteRangeResponse *got_delete;

	(void)unused;
	assert_int_equal(encode_range(&header, &range, &out), ERR_OK);
	got_range = etcdserverpb__range_response__unpack(NULL, out.size, buffer_bytes(&out).data);
	assert_header(got_range->header, &header);
	assert_range(got_range, &range);
	etcdserverpb__range_response__free_unpacked(got_range, NULL);
	buffer_fini(&out);
	assert_int_equal(encode_put(&header, &put, &out), ERR_OK);
	got_put = etcdserverpb__put_response__unpack(NULL, out.size, buffer_bytes(&out).data);
	assert_header(got_put->header, &header);
	assert_put(got_put, &put);
	etcdserverpb__put_response__free_unpacked(got_put, NULL);
	buffer_fini(&out);
	assert_int_equal(encode_delete(&header, &delete, &out), ERR_OK);
	got_delete = etcdserverpb__delete_range_response__unpack(NULL, out.size,
								 buffer_bytes(&out).data);
	assert_header(got_delete->header, &header);
	assert_delete(got_delete, &delete);
	etcdserverpb__delete_range_response__free_unpacked(got_delete, NULL);
	buffer_fini(&out);
}

static void test_an_answer_beyond_the_maximum_fails_whole(void **unused)
{
	struct kv kv = {.value = {(const uint8_t *)"0123456789", 10}};
	struct range_result range = {.kvs = &kv, .kv_count = 1};
	struct buffer out = BUFFER_INIT(20);

	(void)unused;
	assert_int_equal(encode_range(&header, &range, &out), ERR_NOMEM);
	assert_int_equal(out.size, 0);
	buffer_fini(&out);
}

static void test_varint_sizes(void **unused)
{
	uint8_t room[16];

	(void)unused;
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t value = UINT64_C(1) << bit;

		assert_int_equal(wire_put_varint(room, value) - room, wire_varint_size(value));
		assert_int_equal(wire_put_varint(room, value - 1) - room,
				 wire_varint_size(value - 1));
	}
	assert_int_equal(wire_varint_size(UINT64_MAX), 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_read_back_as_they_were),
		cmocka_unit_test(test_plain_answers_carry_the_whole_header),
		cmocka_unit_test(test_an_answer_beyond_the_maximum_fails_whole),
		cmocka_unit_test(test_varint_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
