/* SPDX-License-Identifier: Apache-2.0 */
/* Requests from the wire: against protobuf-c's encoder, and against what no encoder makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/codec.h"
#include "api/proto/rpc.pb-c.h"
#include "api/reader.h"
#include "shim/base/limits.h"
#include "shim/rpc/wire.h"
#include "tests/harness/store_rig.h"

#include <stdlib.h>

#define ROOM (4 * MIB)

struct fixture {
	struct arena arena;
	struct codec codec;
	uint8_t *room;
};

static void open_fixture(struct fixture *f)
{
	arena_init(&f->arena, CALL_ARENA_BYTES_MAX);
	f->codec = CODEC_INIT(&f->arena);
	f->room = malloc(ROOM);
	assert_non_null(f->room);
}

static void close_fixture(struct fixture *f)
{
	arena_fini(&f->arena);
	free(f->room);
}

static struct bytes pack(struct fixture *f, const ProtobufCMessage *message)
{
	assert_true(protobuf_c_message_get_packed_size(message) <= ROOM);
	return bytes_of(f->room, protobuf_c_message_pack(message, f->room));
}

static ProtobufCBinaryData binary(const char *text)
{
	return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static void assert_text(struct bytes bytes, const char *text)
{
	assert_int_equal(bytes.size, strlen(text));
	if (bytes.size)
		assert_memory_equal(bytes.data, text, bytes.size);
}

#define RAW(f, literal) raw((f), (literal), sizeof(literal) - 1)

static struct bytes raw(struct fixture *f, const char *text, size_t size)
{
	memcpy(f->room, text, size);
	return bytes_of(f->room, size);
}

/* --- plain requests --- */

static void test_range_reads_every_field(void **unused)
{
	Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
	struct range_op op;
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	request.key = binary("key");
	request.range_end = binary("kez");
	request.limit = 7;
	request.revision = -8;
	request.sort_order = 2;
	request.sort_target = 4;
	request.serializable = true;
	request.keys_only = true;
	request.count_only = true;
	request.min_mod_revision = 1;
	request.max_mod_revision = 2;
	request.min_create_revision = 3;
	request.max_create_revision = INT64_MIN;
	assert_int_equal(codec_range(&f.codec, pack(&f, &request.base), &op), ERR_OK);
	assert_text(op.key, "key");
	assert_text(op.end, "kez");
	assert_int_equal(op.limit, 7);
	assert_int_equal(op.revision, -8);
	assert_int_equal(op.order, SORT_DESCEND);
	assert_int_equal(op.target, SORT_VALUE);
	assert_true(op.keys_only && op.count_only);
	assert_int_equal(op.min_mod_revision, 1);
	assert_int_equal(op.max_mod_revision, 2);
	assert_int_equal(op.min_create_revision, 3);
	assert_true(op.max_create_revision == INT64_MIN);
	close_fixture(&f);
}

static void test_put_and_delete_read_every_field(void **unused)
{
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__DeleteRangeRequest delete = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
	struct put_op put_op;
	struct delete_op delete_op;
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	put.key = binary("k");
	put.value = binary("value");
	put.lease = 0x7fffffffffffffff;
	put.prev_kv = put.ignore_value = put.ignore_lease = true;
	assert_int_equal(codec_put(&f.codec, pack(&f, &put.base), &put_op), ERR_OK);
	assert_text(put_op.key, "k");
	assert_text(put_op.value, "value");
	assert_true(put_op.lease == INT64_MAX);
	assert_true(put_op.prev_kv && put_op.ignore_value && put_op.ignore_lease);
	delete.key = binary("a");
	delete.range_end = binary("b");
	delete.prev_kv = true;
	assert_int_equal(codec_delete(&f.codec, pack(&f, &delete.base), &delete_op), ERR_OK);
	assert_text(delete_op.key, "a");
	assert_text(delete_op.end, "b");
	assert_true(delete_op.prev_kv);
	close_fixture(&f);
}

static void test_empty_requests_are_all_zero(void **unused)
{
	struct range_op range;
	struct txn_op txn;
	uint64_t numbers[2] = {1, 2};
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	assert_int_equal(codec_range(&f.codec, bytes_of(NULL, 0), &range), ERR_OK);
	assert_int_equal(range.key.size, 0);
	assert_int_equal(codec_txn(&f.codec, bytes_of(NULL, 0), &txn), ERR_OK);
	assert_int_equal(txn.compare_count + txn.success_count + txn.failure_count, 0);
	assert_int_equal(codec_numbers(&f.codec, bytes_of(NULL, 0), numbers, 2), ERR_OK);
	assert_true(numbers[0] == 0 && numbers[1] == 0);
	close_fixture(&f);
}

static void test_unknown_fields_and_wrong_types_are_skipped(void **unused)
{
	struct put_op op;
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	/* Field 100 of each type, a group with a field inside, field 3 as bytes, field 1 as a
	 * number, then the key. */
	assert_int_equal(codec_put(&f.codec,
				   RAW(&f, "\xa0\x06\x05"
					   "\xa1\x06\x01\x02\x03\x04\x05\x06\x07\x08"
					   "\xa2\x06\x02xy"
					   "\xa5\x06\x01\x02\x03\x04"
					   "\xa3\x06\x08\x01\xa4\x06"
					   "\x1a\x01z"
					   "\x08\x05"
					   "\x0a\x03key"),
				   &op),
			 ERR_OK);
	assert_text(op.key, "key");
	assert_int_equal(op.lease, 0);
	close_fixture(&f);
}

static void test_the_last_of_a_repeated_scalar_counts(void **unused)
{
	struct put_op op;
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	assert_int_equal(codec_put(&f.codec, RAW(&f, "\x0a\x01x\x18\x05\x0a\x01y\x18\x06"), &op),
			 ERR_OK);
	assert_text(op.key, "y");
	assert_int_equal(op.lease, 6);
	close_fixture(&f);
}

static void test_malformed_messages_are_refused(void **unused)
{
	static const struct {
		const char *text;
		size_t size;
	} cases[] = {
#define CASE(text) {text, sizeof(text) - 1}
		CASE("\x0a"),						  /* no length */
		CASE("\x0a\x05xy"),					  /* too short */
		CASE("\x18"),						  /* no number */
		CASE("\x18\x80"),					  /* unfinished number */
		CASE("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),	  /* 65 bits */
		CASE("\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), /* 11 bytes */
		CASE("\x00\x01"),					  /* field 0 */
		CASE("\x07\x01"),					  /* wire type 7 */
		CASE("\x0e"),						  /* wire type 6 */
		CASE("\x0c"),						  /* end of no group */
		CASE("\x0b\x14"),					  /* end of another group */
		CASE("\x0b\x08\x01"),					  /* group without end */
		CASE("\x1d\x01\x02"),					  /* short fixed32 */
		CASE("\x19\x01\x02"),					  /* short fixed64 */
		CASE("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),	  /* a length of 2^64-1 */
		CASE("\x80\x80\x80\x80\x80\x01\x01"), /* field number too large */
#undef CASE
	};
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct put_op op;

		f.codec = CODEC_INIT(&f.arena);
		assert_int_equal(codec_put(&f.codec, raw(&f, cases[i].text, cases[i].size), &op),
				 ERR_MALFORMED);
		assert_string_equal(f.codec.problem,
				    "proto: cannot parse invalid wire-format data");
	}
	close_fixture(&f);
}

static void test_groups_inside_groups_are_bounded(void **unused)
{
	struct put_op op;
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	memset(f.room, 0x0b, GROUP_DEPTH_MAX);
	memset(f.room + GROUP_DEPTH_MAX, 0x0c, GROUP_DEPTH_MAX);
	assert_int_equal(codec_put(&f.codec, bytes_of(f.room, (size_t)2 * GROUP_DEPTH_MAX), &op),
			 ERR_OK);
	memset(f.room, 0x0b, GROUP_DEPTH_MAX + 1);
	memset(f.room + GROUP_DEPTH_MAX + 1, 0x0c, GROUP_DEPTH_MAX + 1);
	assert_int_equal(
		codec_put(&f.codec, bytes_of(f.room, (size_t)2 * GROUP_DEPTH_MAX + 2), &op),
		ERR_MALFORMED);
	memset(f.room, 0x0b, 100000);
	assert_int_equal(codec_put(&f.codec, bytes_of(f.room, 100000), &op), ERR_MALFORMED);
	close_fixture(&f);
}

/* --- transactions --- */

static void test_txn_reads_all_members(void **unused)
{
	Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
	Etcdserverpb__TxnRequest inner = ETCDSERVERPB__TXN_REQUEST__INIT;
	Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
	Etcdserverpb__RequestOp ops[5];
	Etcdserverpb__RequestOp *success[5], *failure[1];
	Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__DeleteRangeRequest delete = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
	Etcdserverpb__Compare *compares[] = {&compare};
	struct txn_op op;
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	for (size_t i = 0; i < 5; i++) {
		etcdserverpb__request_op__init(&ops[i]);
		success[i] = &ops[i];
	}
	failure[0] = &ops[1];
	range.key = binary("r");
	put.key = binary("p");
	delete.key = binary("d");
	ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
	ops[0].request_range = &range;
	ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
	ops[1].request_put = &put;
	ops[2].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
	ops[2].request_delete_range = &delete;
	ops[3].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
	ops[3].request_txn = &inner;
	compare.result = 3;
	compare.target = 2;
	compare.key = binary("c");
	compare.range_end = binary("e");
	compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
	compare.mod_revision = 44;
	inner.n_failure = 1;
	inner.failure = failure;
	txn.n_compare = 1;
	txn.compare = compares;
	txn.n_success = 5; /* the last one has nothing in it */
	txn.success = success;
	assert_int_equal(codec_txn(&f.codec, pack(&f, &txn.base), &op), ERR_OK);
	assert_int_equal(op.compare_count, 1);
	assert_int_equal(op.compares[0].result, COMPARE_NOT_EQUAL);
	assert_int_equal(op.compares[0].target, COMPARE_MOD);
	assert_int_equal(op.compares[0].number, 44);
	assert_text(op.compares[0].key, "c");
	assert_text(op.compares[0].end, "e");
	assert_int_equal(op.success_count, 5);
	assert_int_equal(op.failure_count, 0);
	assert_int_equal(op.success[0].kind, REQUEST_RANGE);
	assert_text(op.success[0].as.range.key, "r");
	assert_int_equal(op.success[1].kind, REQUEST_PUT);
	assert_text(op.success[1].as.put.key, "p");
	assert_int_equal(op.success[2].kind, REQUEST_DELETE);
	assert_text(op.success[2].as.delete_range.key, "d");
	assert_int_equal(op.success[3].kind, REQUEST_TXN);
	assert_int_equal(op.success[3].as.txn->failure_count, 1);
	assert_text(op.success[3].as.txn->failure[0].as.put.key, "p");
	assert_int_equal(op.success[4].kind, REQUEST_TXN);
	assert_null(op.success[4].as.txn);
	close_fixture(&f);
}

static void test_compare_ignores_what_is_for_another_target(void **unused)
{
	struct txn_op op;
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	/* target MOD, but a version; target VALUE with a value after a version; target VERSION with
	 * a value after a version. */
	assert_int_equal(codec_txn(&f.codec,
				   RAW(&f, "\x0a\x04\x10\x02\x20\x09"
					   "\x0a\x07\x10\x03\x20\x09\x3a\x01v"
					   "\x0a\x05\x20\x09\x3a\x01v"),
				   &op),
			 ERR_OK);
	assert_int_equal(op.compare_count, 3);
	assert_int_equal(op.compares[0].number, 0);
	assert_text(op.compares[1].value, "v");
	assert_int_equal(op.compares[2].number, 0);
	close_fixture(&f);
}

static void test_a_oneof_sent_in_parts_is_put_together(void **unused)
{
	struct txn_op op;
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	/* success: {put{key k}, put{value v}}; {range, put{key x}}; {txn{success put}, txn{success
	 * put}} */
	assert_int_equal(codec_txn(&f.codec,
				   RAW(&f, "\x12\x0a\x12\x03\x0a\x01k\x12\x03\x12\x01v"
					   "\x12\x0a\x0a\x03\x0a\x01r\x12\x03\x0a\x01x"
					   "\x12\x12\x22\x07\x12\x05\x12\x03\x0a\x01"
					   "a\x22\x07\x12\x05\x12\x03\x0a\x01"
					   "b"),
				   &op),
			 ERR_OK);
	assert_int_equal(op.success_count, 3);
	assert_text(op.success[0].as.put.key, "k");
	assert_text(op.success[0].as.put.value, "v");
	assert_int_equal(op.success[1].kind, REQUEST_PUT);
	assert_text(op.success[1].as.put.key, "x");
	assert_int_equal(op.success[2].as.txn->success_count, 2);
	assert_text(op.success[2].as.txn->success[1].as.put.key, "b");
	close_fixture(&f);
}

/* A transaction of `depth` levels, one inside the other, made from the inside. */
static struct bytes nest(struct fixture *f, size_t depth)
{
	uint8_t *at = f->room + ROOM;
	size_t size = 0;

	for (size_t i = 1; i < depth; i++) {
		size_t member = wire_message_size(4, size);
		size_t head = wire_message_size(2, member) - size;

		at -= head;
		wire_put_message(wire_put_message(at, 2, member), 4, size);
		size += head;
	}
	return bytes_of(at, size);
}

static void test_depth_is_bounded(void **unused)
{
	struct txn_op op;
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	assert_int_equal(codec_txn(&f.codec, nest(&f, TXN_DEPTH_MAX), &op), ERR_OK);
	f.codec = CODEC_INIT(&f.arena);
	assert_int_equal(codec_txn(&f.codec, nest(&f, TXN_DEPTH_MAX + 1), &op), ERR_TOO_MANY_OPS);
	f.codec = CODEC_INIT(&f.arena);
	assert_int_equal(codec_txn(&f.codec, nest(&f, 200000), &op), ERR_TOO_MANY_OPS);
	close_fixture(&f);
}

static void test_the_total_is_bounded(void **unused)
{
	struct txn_op op;
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	for (size_t i = 0; i < TXN_TOTAL_MAX + 1; i++)
		memcpy(f.room + 2 * i, "\x0a", 2);
	assert_int_equal(codec_txn(&f.codec, bytes_of(f.room, (size_t)2 * TXN_TOTAL_MAX), &op),
			 ERR_OK);
	assert_int_equal(op.compare_count, TXN_TOTAL_MAX);
	f.codec = CODEC_INIT(&f.arena);
	assert_int_equal(codec_txn(&f.codec, bytes_of(f.room, (size_t)2 * TXN_TOTAL_MAX + 2), &op),
			 ERR_TOO_MANY_OPS);
	close_fixture(&f);
}

static void test_a_small_arena_is_no_memory(void **unused)
{
	struct txn_op op;
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	arena_fini(&f.arena);
	arena_init(&f.arena, 1000);
	assert_int_equal(codec_txn(&f.codec, nest(&f, 50), &op), ERR_NOMEM);
	close_fixture(&f);
}

/* Whatever comes, the decoder ends and stays inside the message. */
static void test_random_bytes_do_no_harm(void **unused)
{
	struct rig_random random = {rig_seed()};
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	for (unsigned round = 0; round < 20000; round++) {
		size_t size = rig_random(&random, 60);
		uint8_t *message =
			malloc(size + 1); /* of its own, so that a sanitizer sees its end */
		struct bytes bytes = bytes_of(message, size);
		struct txn_op txn;
		ProtobufCMessage *unpacked;

		assert_non_null(message);
		for (size_t i = 0; i < size; i++)
			message[i] = (uint8_t)(rig_random(&random, 3) ? rig_random(&random, 0x24)
								      : rig_random(&random, 256));
		f.codec = CODEC_INIT(&f.arena);
		codec_txn(&f.codec, bytes, &txn);
		codec_unpack(&f.codec, &etcdserverpb__member_add_request__descriptor, bytes,
			     &unpacked);
		free(message);
		arena_fini(&f.arena);
		arena_init(&f.arena, CALL_ARENA_BYTES_MAX);
	}
	close_fixture(&f);
}

/* --- the rare ones --- */

static void test_unpack_takes_all_memory_from_the_arena(void **unused)
{
	Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
	char first[] = "http://a:1", second[] = "\xc3\xa9";
	char *urls[] = {first, second};
	ProtobufCMessage *unpacked;
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	request.n_peerurls = 2;
	request.peerurls = urls;
	request.islearner = true;
	assert_int_equal(codec_unpack(&f.codec, &etcdserverpb__member_add_request__descriptor,
				      pack(&f, &request.base), &unpacked),
			 ERR_OK);
	assert_int_equal(((Etcdserverpb__MemberAddRequest *)unpacked)->n_peerurls, 2);
	assert_string_equal(((Etcdserverpb__MemberAddRequest *)unpacked)->peerurls[1], second);
	arena_fini(&f.arena);
	arena_init(&f.arena, 8);
	assert_int_equal(codec_unpack(&f.codec, &etcdserverpb__member_add_request__descriptor,
				      pack(&f, &request.base), &unpacked),
			 ERR_NOMEM);
	close_fixture(&f);
}

static void test_strings_must_be_utf8(void **unused)
{
	ProtobufCMessage *unpacked;
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	assert_int_equal(codec_unpack(&f.codec, &etcdserverpb__member_add_request__descriptor,
				      RAW(&f, "\x0a\x02\xc3\x28"), &unpacked),
			 ERR_MALFORMED);
	assert_string_equal(f.codec.problem, "string field contains invalid UTF-8");
	/* An unknown field and one of another type may hold what they like. */
	assert_int_equal(codec_unpack(&f.codec, &etcdserverpb__member_add_request__descriptor,
				      RAW(&f, "\xa2\x06\x02\xc3\x28"), &unpacked),
			 ERR_OK);
	close_fixture(&f);
}

static void test_unpack_skips_what_go_skips(void **unused)
{
	Etcdserverpb__MemberAddRequest *request;
	ProtobufCMessage *unpacked;
	struct fixture f;

	(void)unused;
	open_fixture(&f);
	/* A group, the known numbers with other types, a NUL inside of a text. */
	assert_int_equal(codec_unpack(&f.codec, &etcdserverpb__member_add_request__descriptor,
				      RAW(&f, "\xfb\x04\x08\x01\xfc\x04\x0b\x0c\x08\x05\x12\x01x"
					      "\x15"
					      "\0\0\0\0"
					      "\x0a\x03"
					      "a\0b"),
				      &unpacked),
			 ERR_OK);
	request = (Etcdserverpb__MemberAddRequest *)unpacked;
	assert_int_equal(request->n_peerurls, 1);
	assert_string_equal(request->peerurls[0], "a\x7f"
						  "b");
	assert_false(request->islearner);
	close_fixture(&f);
}

static void test_utf8(void **unused)
{
	static const char *const good[] = {"",
					   "a",
					   "\xc2\x80",
					   "\xdf\xbf",
					   "\xe0\xa0\x80",
					   "\xed\x9f\xbf",
					   "\xee\x80\x80",
					   "\xf0\x90\x80\x80",
					   "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80",
					  "\xc0\x80",
					  "\xc1\xbf",
					  "\xc2",
					  "\xe0\x9f\xbf",
					  "\xed\xa0\x80",
					  "\xe1\x80",
					  "\xf0\x8f\x80\x80",
					  "\xf4\x90\x80\x80",
					  "\xf5\x80\x80\x80",
					  "\xff",
					  "a\xc2z"};

	(void)unused;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(utf8_is_valid(bytes_of_string(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(utf8_is_valid(bytes_of_string(bad[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_range_reads_every_field),
		cmocka_unit_test(test_put_and_delete_read_every_field),
		cmocka_unit_test(test_empty_requests_are_all_zero),
		cmocka_unit_test(test_unknown_fields_and_wrong_types_are_skipped),
		cmocka_unit_test(test_the_last_of_a_repeated_scalar_counts),
		cmocka_unit_test(test_malformed_messages_are_refused),
		cmocka_unit_test(test_groups_inside_groups_are_bounded),
		cmocka_unit_test(test_txn_reads_all_members),
		cmocka_unit_test(test_compare_ignores_what_is_for_another_target),
		cmocka_unit_test(test_a_oneof_sent_in_parts_is_put_together),
		cmocka_unit_test(test_depth_is_bounded),
		cmocka_unit_test(test_the_total_is_bounded),
		cmocka_unit_test(test_a_small_arena_is_no_memory),
		cmocka_unit_test(test_random_bytes_do_no_harm),
		cmocka_unit_test(test_unpack_takes_all_memory_from_the_arena),
		cmocka_unit_test(test_strings_must_be_utf8),
		cmocka_unit_test(test_unpack_skips_what_go_skips),
		cmocka_unit_test(test_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
