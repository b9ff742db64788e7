/* SPDX-License-Identifier: Apache-2.0 */
/* test_txn.c - transactions by example; the random programs of test_store_model.c do the rest. */
#include "tests/harness/store_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define PUT(k, v)                                                                                  \
	{                                                                                          \
		.kind = REQUEST_PUT, .as.put = {                                                   \
			.key = BYTES_LITERAL(k),                                                   \
			.value = BYTES_LITERAL(v)                                                  \
		}                                                                                  \
	}
#define GET(k)                                                                                     \
	{                                                                                          \
		.kind = REQUEST_RANGE, .as.range = {.key = BYTES_LITERAL(k) }                      \
	}
#define DELETE(k)                                                                                  \
	{                                                                                          \
		.kind = REQUEST_DELETE, .as.delete_range = {.key = BYTES_LITERAL(k) }              \
	}
#define TXN(t)                                                                                     \
	{                                                                                          \
		.kind = REQUEST_TXN, .as.txn = (t)                                                 \
	}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	rig_open(rig);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	rig_close(*state);
	free(*state);
	return 0;
}

static enum err run(struct rig *rig, const struct txn_op *txn, struct txn_result *result)
{
	struct op op = {.kind = OP_TXN, .arena = &rig->arena, .in.txn = *txn};
	enum err e = rig_do(rig, &op);

	*result = op.out.txn;
	return e;
}

static void test_a_range_sees_earlier_writes_and_reports_their_revision(void **state)
{
	struct rig *rig = *state;
	struct request ops[] = {GET("a"),	PUT("a", "1"), GET("a"),
				DELETE("none"), DELETE("a"),   GET("a")};
	struct txn_op txn = {.success = ops, .success_count = COUNT(ops)};
	struct txn_result result;

	assert_int_equal(run(rig, &txn, &result), ERR_OK);
	assert_true(result.succeeded);
	assert_int_equal(result.revision, 2);
	assert_int_equal(result.responses[0].as.range.revision, 1);
	assert_int_equal(result.responses[0].as.range.kv_count, 0);
	assert_int_equal(result.responses[2].as.range.revision, 2);
	assert_int_equal(result.responses[2].as.range.kvs[0].mod_revision, 2);
	assert_int_equal(result.responses[3].as.delete_range.revision, 2);
	assert_int_equal(result.responses[4].as.delete_range.deleted, 1);
	assert_int_equal(result.responses[5].as.range.kv_count, 0);
}

static void test_compares_of_nested_transactions_see_the_state_before(void **state)
{
	struct rig *rig = *state;
	struct compare missing = {.target = COMPARE_MOD, .key = BYTES_LITERAL("a")};
	struct request inner_ops[] = {PUT("b", "inner")};
	struct txn_op inner = {
		.compares = &missing, .compare_count = 1, .success = inner_ops, .success_count = 1};
	struct request ops[] = {PUT("a", "1"), TXN(&inner)};
	struct txn_op txn = {.success = ops, .success_count = 2};
	struct txn_result result;

	assert_int_equal(run(rig, &txn, &result), ERR_OK);
	assert_true(result.responses[1].as.txn.succeeded);
	assert_non_null(rig_get(rig, "b", 0));
	assert_int_equal(rig_get(rig, "b", 0)->mod_revision, 2);
	assert_int_equal(run(rig, &txn, &result), ERR_OK);
	assert_false(result.responses[1].as.txn.succeeded);
	assert_int_equal(result.responses[1].as.txn.response_count, 0);
}

static void test_a_missing_key_has_no_value_to_compare(void **state)
{
	struct rig *rig = *state;
	struct compare compares[] = {
		{.target = COMPARE_VALUE, .result = COMPARE_NOT_EQUAL, .key = BYTES_LITERAL("a")},
		{.target = COMPARE_VERSION, .result = COMPARE_EQUAL, .key = BYTES_LITERAL("a")},
		{.target = 77, .result = COMPARE_EQUAL, .key = BYTES_LITERAL("a")},
		{.target = COMPARE_MOD, .result = 77, .key = BYTES_LITERAL("a"), .number = 5},
	};
	static const bool holds[] = {false, true, true, true};
	struct txn_result result;

	for (size_t i = 0; i < COUNT(compares); i++) {
		struct txn_op txn = {.compares = &compares[i], .compare_count = 1};

		assert_int_equal(run(rig, &txn, &result), ERR_OK);
		assert_int_equal(result.succeeded, holds[i]);
		assert_int_equal(result.revision, 1);
	}
}

static void test_a_compare_of_a_range_needs_every_key(void **state)
{
	struct rig *rig = *state;
	struct compare compare = {.target = COMPARE_VERSION,
				  .result = COMPARE_GREATER,
				  .key = BYTES_LITERAL("a"),
				  .end = BYTES_LITERAL("z"),
				  .number = 1};
	struct txn_op txn = {.compares = &compare, .compare_count = 1};
	struct txn_result result;

	rig_put(rig, "a", "1");
	rig_put(rig, "a", "2");
	assert_int_equal(run(rig, &txn, &result), ERR_OK);
	assert_true(result.succeeded);
	rig_put(rig, "b", "1");
	assert_int_equal(run(rig, &txn, &result), ERR_OK);
	assert_false(result.succeeded);
}

static void test_a_check_that_fails_leaves_nothing(void **state)
{
	struct rig *rig = *state;
	struct request with_lease = {.kind = REQUEST_PUT,
				     .as.put = {.key = BYTES_LITERAL("b"), .lease = 5}};
	struct request future = {.kind = REQUEST_RANGE,
				 .as.range = {.key = BYTES_LITERAL("a"), .revision = 2}};
	struct request keep = {.kind = REQUEST_PUT,
			       .as.put = {.key = BYTES_LITERAL("a"), .ignore_value = true}};
	struct request bad[] = {with_lease, future, keep};
	static const enum err wanted[] = {ERR_LEASE_NOT_FOUND, ERR_FUTURE_REVISION,
					  ERR_KEY_NOT_FOUND};
	struct txn_result result;

	for (size_t i = 0; i < COUNT(bad); i++) {
		struct request ops[] = {PUT("a", "1"), bad[i]};
		struct txn_op inner = {.success = ops, .success_count = 2};
		struct request outer[] = {PUT("c", "1"), TXN(&inner)};
		struct txn_op txn = {.success = outer, .success_count = 2};
		struct txn_op untaken = {.failure = outer, .failure_count = 2};

		assert_int_equal(run(rig, &txn, &result), wanted[i]);
		assert_int_equal(store_head(rig->store), 1);
		assert_int_equal(run(rig, &untaken, &result), ERR_OK);
	}
	assert_null(rig_get(rig, "a", 0));
	assert_null(rig_get(rig, "c", 0));
}

/* checkTxn looks at revisions of ranges more strictly than Range does. */
static void test_negative_revisions_are_compacted_inside_a_transaction(void **state)
{
	struct rig *rig = *state;
	struct request op = {.kind = REQUEST_RANGE,
			     .as.range = {.key = BYTES_LITERAL("a"), .revision = -1}};
	struct txn_op txn = {.success = &op, .success_count = 1};
	struct txn_result result;

	assert_int_equal(run(rig, &txn, &result), ERR_OK); /* the compact revision is -1, too */
	op.as.range.revision = -2;
	assert_int_equal(run(rig, &txn, &result), ERR_COMPACTED);
}

static void test_recreation_in_one_transaction_starts_at_version_one(void **state)
{
	struct rig *rig = *state;
	struct request ops[] = {DELETE("a"), PUT("a", "new")};
	struct txn_op txn = {.success = ops, .success_count = 2};
	struct txn_result result;
	const struct kv *kv;

	rig_put(rig, "a", "old");
	rig_put(rig, "a", "old");
	assert_int_equal(run(rig, &txn, &result), ERR_OK);
	kv = rig_get(rig, "a", 0);
	assert_int_equal(kv->version, 1);
	assert_int_equal(kv->create_revision, 4);
	assert_int_equal(kv->mod_revision, 4);
	assert_int_equal(rig_get(rig, "a", 3)->version, 2);
}

static void test_out_of_memory_for_results_undoes_the_transaction(void **state)
{
	struct rig *rig = *state;
	struct request ops[] = {PUT("b", "1"), DELETE("a"), GET("big")};
	struct op op = {.kind = OP_TXN, .in.txn = {.success = ops, .success_count = 3}};
	struct op put = {.kind = OP_PUT,
			 .in.put = {.key = BYTES_LITERAL("big"),
				    .value = bytes_of(calloc(1, 100000), 100000)}};
	struct arena arena;

	rig_put(rig, "a", "1");
	assert_int_equal(rig_do(rig, &put), ERR_OK);
	free((void *)(uintptr_t)put.in.put.value.data);
	arena_init(&arena, 20000);
	op.arena = &arena;
	assert_int_equal(rig_do(rig, &op), ERR_NOMEM);
	assert_int_equal(store_head(rig->store), 3);
	assert_non_null(rig_get(rig, "a", 0));
	assert_null(rig_get(rig, "b", 0));
	assert_int_equal(rig_put(rig, "b", "2"), 4);
	rig_reopen(rig);
	assert_non_null(rig_get(rig, "a", 0));
	assert_int_equal(rig_get(rig, "b", 0)->version, 1);
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_a_range_sees_earlier_writes_and_reports_their_revision),
		TEST(test_compares_of_nested_transactions_see_the_state_before),
		TEST(test_a_missing_key_has_no_value_to_compare),
		TEST(test_a_compare_of_a_range_needs_every_key),
		TEST(test_a_check_that_fails_leaves_nothing),
		TEST(test_negative_revisions_are_compacted_inside_a_transaction),
		TEST(test_recreation_in_one_transaction_starts_at_version_one),
		TEST(test_out_of_memory_for_results_undoes_the_transaction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
